"""The C library's allocator, told to share its memory among threads.

glibc gives threads heaps of their own, up to eight for each core, and each keeps what it once needed. With a hundred
native threads that come and go (the Speech SDK's, inference's) that looks like a leak for an hour. Two heaps are enough
for what our threads allocate. Elsewhere than on glibc nothing is done. Driven by ``server.settings``.
"""

from __future__ import annotations

import ctypes
from typing import Final

HEAPS: Final = 2
_M_ARENA_MAX: Final = -8
"""``mallopt(3)``."""


def share_heaps() -> bool:
    """Bound the heaps of this process; before its threads start. Whether that could be done."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return mallopt(_M_ARENA_MAX, HEAPS) == 1
