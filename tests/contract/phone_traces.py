"""Streams of telephone carriers as they come in a call, in order: what tests replay, whole and with faults.

Each trace says the same call: it begins, 25 frames of 20 ms, the key 5, a mark (where the carrier has them), its end.
"""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audio.codecs.g711 import G711Encoder
from audio.formats import Encoding
from server.wire.phone.acs import AcsCodec
from server.wire.phone.audiosocket import AudioSocketCodec
from server.wire.phone.freeswitch import FreeSwitchCodec
from server.wire.phone.jambonz import JambonzCodec
from server.wire.phone.port import Frame, StreamCodec
from server.wire.phone.telnyx import TelnyxCodec
from server.wire.phone.twilio import TwilioCodec
from server.wire.phone.vonage import VonageCodec

FRAMES = 25
CALL_UUID = uuid.UUID("7c0f1d2e-3b4a-4c5d-8e6f-001122334455")


def tone(rate_hz: int, number: int) -> bytes:
    """20 ms of 16-bit audio, another for each number."""
    at = np.arange(rate_hz // 50) + number * rate_hz // 50
    return (3_000 * np.sin(2 * np.pi * 300 * at / rate_hz)).astype("<i2").tobytes()


def g711(encoding: Encoding, number: int) -> bytes:
    return G711Encoder(encoding).encode(np.frombuffer(tone(8_000, number), "<i2"))[0]


def b64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


@dataclass(frozen=True)
class Trace:
    """One carrier's: the frames by what they are for, in order, and the audio they carry."""

    make: Callable[[], StreamCodec]
    start: tuple[Frame, ...]
    audio: tuple[Frame, ...]
    payloads: tuple[bytes, ...]
    key: Frame
    mark: Frame | None
    end: Frame | None
    wrong_codec: tuple[Frame, ...]

    @property
    def whole(self) -> list[Frame]:
        rest = [frame for frame in (self.key, self.mark, self.end) if frame is not None]
        return [*self.start, *self.audio, *rest]


def _twilio() -> Trace:
    def start(encoding: str = "audio/x-mulaw") -> str:
        media = {"encoding": encoding, "sampleRate": 8000, "channels": 1}
        given = {"caller": "+15550100123", "callee": "+15550100999", "locale": "de-DE"}
        inside = {"accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"]}
        inside |= {"mediaFormat": media, "customParameters": given}
        return json.dumps({"event": "start", "sequenceNumber": "1", "start": inside, "streamSid": "MZ1"})

    payloads = tuple(g711(Encoding.G711_ULAW, number) for number in range(FRAMES))
    audio = tuple(
        json.dumps(
            {
                "event": "media",
                "sequenceNumber": str(number + 2),
                "media": {
                    "track": "inbound",
                    "chunk": str(number + 1),
                    "timestamp": str(number * 20),
                    "payload": b64(payload),
                },
                "streamSid": "MZ1",
            }
        )
        for number, payload in enumerate(payloads)
    )
    connected = json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    key = json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "5"}})
    mark = json.dumps({"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}})
    end = json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {"accountSid": "AC1", "callSid": "CA1"}})
    return Trace(TwilioCodec, (connected, start()), audio, payloads, key, mark, end, (connected, start("audio/l16")))


def _telnyx() -> Trace:
    def start(encoding: str = "PCMA") -> str:
        media = {"encoding": encoding, "sample_rate": 8000, "channels": 1}
        inside = {"call_control_id": "v3:1", "from": "+15550100123", "to": "+15550100999", "media_format": media}
        inside |= {"custom_parameters": {"locale": "de-DE"}}
        return json.dumps({"event": "start", "sequence_number": "1", "start": inside, "stream_id": "S1"})

    payloads = tuple(g711(Encoding.G711_ALAW, number) for number in range(FRAMES))
    audio = tuple(
        json.dumps(
            {
                "event": "media",
                "sequence_number": str(number + 2),
                "media": {"track": "inbound", "chunk": str(number + 1), "timestamp": "0", "payload": b64(payload)},
                "stream_id": "S1",
            }
        )
        for number, payload in enumerate(payloads)
    )
    connected = json.dumps({"event": "connected", "version": "1.0.0"})
    key = json.dumps({"event": "dtmf", "stream_id": "S1", "dtmf": {"digit": "5"}})
    mark = json.dumps({"event": "mark", "stream_id": "S1", "mark": {"name": "m1"}})
    end = json.dumps({"event": "stop", "stream_id": "S1", "stop": {"call_control_id": "v3:1"}})
    return Trace(TelnyxCodec, (connected, start()), audio, payloads, key, mark, end, (connected, start("OPUS")))


def _acs(rate_hz: int = 24_000, *, pascal: bool = False) -> Trace:
    def cased(value: object) -> object:
        if not pascal or not isinstance(value, dict):
            return value
        return {name[:1].upper() + name[1:]: cased(said) for name, said in value.items()}

    def start(rate: int) -> str:
        metadata = {"subscriptionId": "s", "encoding": "PCM", "sampleRate": rate, "channels": 1, "length": rate // 25}
        return json.dumps(cased({"kind": "AudioMetadata", "audioMetadata": metadata}))

    payloads = tuple(tone(rate_hz, number) for number in range(FRAMES))
    audio = tuple(
        json.dumps(
            cased(
                {
                    "kind": "AudioData",
                    "audioData": {
                        "timestamp": "2026-01-01T00:00:00.000Z",
                        "participantRawID": "4:+15550100123",
                        "data": b64(payload),
                        "silent": False,
                    },
                }
            )
        )
        for payload in payloads
    )
    key = json.dumps(cased({"kind": "DtmfData", "dtmfData": {"data": "5"}}))
    return Trace(AcsCodec, (start(rate_hz),), audio, payloads, key, None, None, (start(8_000),))


def _vonage() -> Trace:
    def start(kind: str = "audio/l16;rate=16000") -> str:
        given = {"caller": "+15550100123", "callee": "+15550100999", "uuid": "u1", "locale": "de-DE"}
        return json.dumps({"event": "websocket:connected", "content-type": kind, **given})

    payloads = tuple(tone(16_000, number) for number in range(FRAMES))
    key = json.dumps({"event": "websocket:dtmf", "digit": "5", "duration": 260})
    mark = json.dumps({"event": "websocket:notify", "payload": {"mark": "m1"}})
    end = json.dumps({"event": "websocket:disconnected", "reason": "hangup"})
    return Trace(VonageCodec, (start(),), payloads, payloads, key, mark, end, (start("audio/x-mulaw;rate=8000"),))


def _jambonz() -> Trace:
    def start(**changes: object) -> str:
        given: dict[str, object] = {"callSid": "c1", "from": "+15550100123", "to": "+15550100999"}
        given |= {"direction": "inbound", "sampleRate": 8000, "mixType": "mono", "metadata": {"locale": "de-DE"}}
        return json.dumps({**given, **changes})

    payloads = tuple(tone(8_000, number) for number in range(FRAMES))
    key = json.dumps({"event": "dtmf", "dtmf": "5", "duration": "1600"})
    mark = json.dumps({"type": "mark", "data": {"name": "m1", "event": "playout"}})
    return Trace(JambonzCodec, (start(),), payloads, payloads, key, mark, None, (start(mixType="stereo"),))


def _freeswitch() -> Trace:
    start = json.dumps({"uuid": "f1", "caller": "+15550100123", "callee": "+15550100999", "locale": "de-DE"})
    payloads = tuple(tone(8_000, number) for number in range(FRAMES))
    key = json.dumps({"event": "dtmf", "digit": "5"})
    return Trace(FreeSwitchCodec, (start,), payloads, payloads, key, None, None, ())


def _audiosocket() -> Trace:
    def framed(kind: int, payload: bytes = b"") -> bytes:
        return struct.pack("!BH", kind, len(payload)) + payload

    payloads = tuple(tone(8_000, number) for number in range(FRAMES))
    audio = tuple(framed(0x10, payload) for payload in payloads)
    start = framed(0x01, CALL_UUID.bytes)
    wrong = (start, framed(0x12, tone(16_000, 0)))
    return Trace(AudioSocketCodec, (start,), audio, payloads, framed(0x03, b"5"), None, framed(0x00), wrong)


TRACES: dict[str, Trace] = {
    "twilio": _twilio(),
    "telnyx": _telnyx(),
    "acs": _acs(),
    "acs-16k-pascal": _acs(16_000, pascal=True),
    "vonage": _vonage(),
    "jambonz": _jambonz(),
    "freeswitch": _freeswitch(),
    "audiosocket": _audiosocket(),
}
