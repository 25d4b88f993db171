"""Keys the agent presses towards the other side of a call, with pauses between them.

Knows no carrier: a leg presses what has no pause in it. Driven by ``server.telephony.conversation``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import anyio

from server.telephony.port import CallControlError, PhoneLeg
from server.telephony.unless import unless

KEYS_PATTERN: Final = "^[0-9*#A-Da-dwW,]{1,32}$"
PAUSES_S: Final = {"w": 0.5, ",": 2.0}
LIMIT_S: Final = 90.0
"""How long all of it may take: more than 32 keys, or pauses, do."""
_PART: Final = re.compile("[0-9*#A-D]+|[w,]")


def parts_of(digits: str) -> Iterator[str | float]:
    """Keys to press in one go, and pauses in seconds, in order. Raises CallControlError for what is neither."""
    if not re.fullmatch(KEYS_PATTERN, digits):
        raise CallControlError("Keys are 0 to 9, *, #, A to D; w and a comma are pauses; at most 32.")
    for part in _PART.findall(re.sub("[a-d]", lambda key: key[0].upper(), digits.replace("W", "w"))):
        pause_s = PAUSES_S.get(part)
        yield part if pause_s is None else pause_s


async def press(leg: PhoneLeg, digits: str, ended: anyio.Event) -> None:
    """Press them; return early once the call has ``ended``. Raises CallControlError."""

    async def all_of_it() -> None:
        try:
            with anyio.fail_after(LIMIT_S):
                for part in parts_of(digits):
                    await (leg.send_digits(part) if isinstance(part, str) else anyio.sleep(part))
        except TimeoutError as error:
            raise CallControlError("The keys could not be pressed in time.") from error

    await unless(ended, all_of_it)
