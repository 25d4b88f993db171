"""A caller's voice on its way to the session: at the rate everything hears with, in bites while the loop is busy.

Packets of 20 ms cost less together than one by one (``server.loop_load``). Owned by a conversation, which flushes it
where what was said must be heard before something else happens, and told that time passes (``tick``). Nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.core.sound_meter import ticks
from audio.codecs.resample import StreamResampler
from audio.formats import HEARING_RATE_HZ, Samples

Hear = Callable[[Samples, int], None]
"""Takes samples at 16 kHz, and how many ticks of audio came for them."""


class Ear:
    """One call's."""

    def __init__(self, hear: Hear, bite_s: Callable[[], float]) -> None:
        """``bite_s`` is how long a bite is to be, now; 0: everything is heard as it comes."""
        self._hear = hear
        self._bite_s = bite_s
        self._rate_hz = HEARING_RATE_HZ
        self._resampler = StreamResampler(HEARING_RATE_HZ, HEARING_RATE_HZ)
        self._gathered: list[Samples] = []
        self._count = 0
        self._came = False

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """The next of the caller's voice, at the line's rate, which may change."""
        if rate_hz != self._rate_hz:
            self.flush()
            self._rate_hz, self._resampler = rate_hz, StreamResampler(rate_hz, HEARING_RATE_HZ)
        bite_s = self._bite_s()
        if not bite_s and not self._gathered:
            self._pass_on(samples)
            return
        self._gathered.append(samples)
        self._count += len(samples)
        self._came = True
        if self._count >= bite_s * rate_hz:
            self.flush()

    def flush(self) -> None:
        """What has gathered is heard now."""
        if self._gathered:
            samples = np.concatenate(self._gathered)
            self._gathered, self._count = [], 0
            self._pass_on(samples)

    def tick(self) -> None:
        """To be called ten times a second: where nothing has come since the last time, what gathered is heard now."""
        if not self._came:
            self.flush()
        self._came = False

    def _pass_on(self, samples: Samples) -> None:
        self._hear(self._resampler.process(samples), ticks(len(samples), self._rate_hz))
