"""What was said in conversations, kept as long as a policy says: written off the turns' path, read by routes."""

from server.conversations.scribe import Scribe
from server.conversations.store import ConversationStore
from server.conversations.tables import CONVERSATIONS

__all__ = ["CONVERSATIONS", "ConversationStore", "Scribe"]
