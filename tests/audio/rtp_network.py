"""A sender of Opus packets and a network that loses, delays, swaps and repeats them, in virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from audio.codecs.libopus import EncoderOptions, LibopusEncoder
from audio.rtp.packet import RtpPacket

FRAME_MS = 20


@dataclass(frozen=True)
class Sent:
    """A packet, and when it left."""

    packet: RtpPacket
    at_ms: float


@dataclass
class Sender:
    """Encodes 16 kHz samples to packets of 20 ms; DTX silence is sent once, then nothing (as browsers do)."""

    sequence: int = 65_500
    timestamp: int = (1 << 32) - 4_800
    ssrc: int = 7
    dtx: bool = False
    skip_dtx: bool = True
    encoder: LibopusEncoder = field(init=False)

    def __post_init__(self) -> None:
        self.encoder = LibopusEncoder(16_000, EncoderOptions(dtx=self.dtx, expected_loss_percent=20))
        self._silent = False

    def send(self, samples: np.ndarray, start_ms: float = 0.0) -> list[Sent]:
        sent = []
        for at in range(0, len(samples) - 319, 320):
            payload = self.encoder.encode(samples[at : at + 320])
            leaves_ms = start_ms + at / 16 + FRAME_MS
            silent = len(payload) <= 2
            if not (silent and self._silent and self.skip_dtx):
                sent.append(Sent(RtpPacket(self.sequence, self.timestamp, payload, self.ssrc, 111), leaves_ms))
                self.sequence = (self.sequence + 1) & 0xFFFF
            self._silent = silent
            self.timestamp = (self.timestamp + 960) & 0xFFFFFFFF
        return sent


@dataclass(frozen=True)
class Network:
    loss: float = 0.0
    duplication: float = 0.0
    swapped: float = 0.0
    swapped_by_ms: float = 45.0
    jitter_ms: float = 0.0
    delay_ms: float = 30.0
    seed: int = 1

    def carry(self, sent: list[Sent]) -> list[tuple[float, RtpPacket]]:
        """Arrivals in order of time."""
        chance = random.Random(self.seed)
        arrivals = []
        for one in sent:
            if chance.random() < self.loss:
                continue
            delay = self.delay_ms + chance.random() * self.jitter_ms
            if chance.random() < self.swapped:
                delay += self.swapped_by_ms
            arrivals.append((one.at_ms + delay, one.packet))
            if chance.random() < self.duplication:
                arrivals.append((one.at_ms + delay + chance.random() * 60, one.packet))
        return sorted(arrivals, key=lambda arrival: arrival[0])


def tone(seconds: float, hz: float = 440.0, level: int = 9_000) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * hz * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.int16)


def hear(stream, arrivals, until_ms: float, tick_ms: float = 10.0):
    """Plays arrivals and ticks to a stream; yields ``(now_ms, samples)`` for each call."""
    events = [(at_ms, packet) for at_ms, packet in arrivals if at_ms <= until_ms]
    events += [(tick * tick_ms, None) for tick in range(1, int(until_ms / tick_ms) + 1)]
    for at_ms, packet in sorted(events, key=lambda event: event[0]):
        yield at_ms, stream.tick(at_ms) if packet is None else stream.receive(packet, at_ms)
