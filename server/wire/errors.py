"""What can go wrong with a frame.

WireError    a frame that cannot be taken: a stable code, a sentence for people, and whether the connection must end
"""

from __future__ import annotations

from agents.events import Failed
from server.contracts.errors import ERRORS, ErrorCode


class WireError(Exception):
    """A frame the codec cannot take.

    Attributes:
        code: ``request.invalid`` or ``request.too_large``.
        message: one sentence, naming the field where one is at fault; never the client's own data.
        fatal: the connection ends, with the code's close code; otherwise the frame is dropped and the next one counts.
        field: the path of the field at fault, such as ``turn_detection.threshold``.
    """

    def __init__(self, code: ErrorCode, message: str, *, fatal: bool = False, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fatal = fatal
        self.field = field

    @property
    def close_code(self) -> int:
        """The WebSocket close code, where the error is fatal."""
        return ERRORS[self.code].close_code

    def to_event(self) -> Failed:
        """The ``error`` event that tells the client."""
        details = None if self.field is None else {"field": self.field}
        return Failed(self.code.value, self.message, retryable=ERRORS[self.code].retryable, details=details)
