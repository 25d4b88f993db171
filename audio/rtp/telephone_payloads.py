"""The telephone's codecs as streams of packets: G.711 and G.722 (RFC 3551), what is lost repeated and faded out."""

from __future__ import annotations

from audio.codecs.g711 import G711Decoder
from audio.codecs.g722 import G722Decoder
from audio.codecs.port import Decoder
from audio.formats import Encoding, Samples
from audio.rtp.concealment import Concealer


class _Payloads:
    """``StreamCodec`` around a codec that has no loss concealment, no FEC and no silence of its own."""

    clock_hz = 8_000
    step_units = 1

    def __init__(self, decoder: Decoder) -> None:
        self.sample_rate_hz = decoder.sample_rate_hz
        self._decoder = decoder
        self._concealer = Concealer(decoder.sample_rate_hz)

    def decode(self, payload: bytes) -> Samples:
        return self._concealer.good(self._decoder.decode(payload))

    def conceal(self, samples: int) -> Samples:
        return self._concealer.conceal(samples)

    def can_recover(self, next_payload: bytes) -> bool:
        return False

    def recover(self, next_payload: bytes, samples: int) -> Samples:
        return self._concealer.conceal(samples)

    def says_quiet(self, payload: bytes) -> bool:
        return False

    def reset(self) -> None:
        self._concealer.reset()


class G711Payloads(_Payloads):
    """``StreamCodec`` for mu-law or A-law, at 8 kHz."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__(G711Decoder(encoding))


class G722Payloads(_Payloads):
    """``StreamCodec`` for G.722: samples at 16 kHz, timestamps at 8 kHz for historical reasons (RFC 3551, 4.5.2)."""

    def __init__(self) -> None:
        super().__init__(G722Decoder())

    def reset(self) -> None:
        super().reset()
        self._decoder = G722Decoder()
