"""W3C Trace Context (https://www.w3.org/TR/trace-context/): a client's place in a trace, read and written. Pure.

Knows no tracing library: the header is read whether or not spans are sent anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_STATE_CHARS: Final = 512
"""What a ``tracestate`` may have to be passed on (section 3.3.1.5); a longer one is left out."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE: Final = re.compile(r"[\x20-\x7e\t]*")


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The span of somebody else's that ours belong to. Ids are lower-case hexadecimal, never zero."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""

    def header(self) -> str:
        """As a ``traceparent`` of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def read_traceparent(value: str | None, state: str | None = None) -> TraceParent | None:
    """What a ``traceparent`` header says; ``None`` where there is none or it is not one (section 4.3: start anew)."""
    found = None if value is None else _TRACEPARENT.fullmatch(value.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    kept = state or ""
    if len(kept) > MAX_STATE_CHARS or _STATE.fullmatch(kept) is None:
        kept = ""
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & 1), kept)
