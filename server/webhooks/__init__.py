"""Usage events out: each once or more, in order, signed, to the receivers an operator names."""

from server.webhooks.office import Webhooks
from server.webhooks.store import WEBHOOKS

__all__ = ["WEBHOOKS", "Webhooks"]
