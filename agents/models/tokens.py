"""How many tokens a text is, roughly, where no provider said.

Pure. Used to bound histories and to account for completions that were cut off before their usage arrived; a figure
made here is always marked ``estimated``. Knows no model's vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from agents.models.port import Message, TokenUsage

# Measured on English chat with the cl100k and SmolLM2 vocabularies: 4.2 and 4.0 characters a token. A little less
# errs on the side of more tokens, which is the safe side for a context window.
_ASCII_PER_TOKEN: Final = 3.8
_OTHER_PER_TOKEN: Final = 1.3
_PER_MESSAGE: Final = 4


def estimate_tokens(text: str) -> int:
    """About how many tokens ``text`` is; 0 only for the empty text."""
    ascii_chars = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_chars / _ASCII_PER_TOKEN + (len(text) - ascii_chars) / _OTHER_PER_TOKEN)


def estimate_message_tokens(message: Message) -> int:
    """About how many tokens a message takes in a prompt, with its role markers and tool requests."""
    tokens = _PER_MESSAGE + estimate_tokens(message.text)
    return tokens + sum(_PER_MESSAGE + estimate_tokens(r.name + r.arguments) for r in message.tool_requests)


def estimate_usage(messages: Iterable[Message], output_text: str) -> TokenUsage:
    """The usage of a completion that ended before its provider reported any (cut off, interrupted)."""
    prompt = sum(estimate_message_tokens(message) for message in messages)
    return TokenUsage(input_tokens=prompt, output_tokens=estimate_tokens(output_text), estimated=True)
