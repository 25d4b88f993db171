"""What may be chosen as hold music, and whether a file can be it. For the settings, which need no sound for that."""

from __future__ import annotations

import wave
from typing import Final

TONES: Final = "tones"
OFF: Final = "off"
RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 120.0


def check(path: str) -> None:
    """Whether a file can be the loop. Raises ValueError, which says why not."""
    try:
        with wave.open(path, "rb") as file:
            rate_hz, length_s = file.getframerate(), file.getnframes() / (file.getframerate() or 1)
            if file.getsampwidth() != 2 or file.getnchannels() != 1 or rate_hz not in RATES_HZ:
                rates = ", ".join(map(str, RATES_HZ))
                raise ValueError(f"{path}: a mono WAV of 16 bits at {rates} Hz is wanted")
    except (OSError, EOFError, wave.Error) as error:
        raise ValueError(f"{path} cannot be read as a WAV ({error})") from error
    if not SHORTEST_S <= length_s <= LONGEST_S:
        raise ValueError(f"{path}: {SHORTEST_S:.0f} to {LONGEST_S:.0f} seconds are wanted, not {length_s:.1f}")
