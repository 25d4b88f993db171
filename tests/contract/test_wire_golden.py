"""The bytes on the wire, frozen: a change here is a change to every client.

``golden/client_frames.jsonl`` has, per line, the frames a client sends and the event the last of them is;
``golden/server_frames.jsonl`` the frame of each event in ``GOLDEN_EVENTS``. Both are edited by hand, on purpose.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from agents import events
from agents.models.port import FilteredCategory
from server.wire.client_events import (
    AudioIn,
    Cancel,
    ChatCancel,
    ChatStart,
    ClientEvent,
    Commit,
    Played,
    Resume,
    Stop,
    Update,
    VoiceStart,
)
from server.wire.values import EncodedAudio
from server.wire.voice_json import VoiceCodec

GOLDEN = Path(__file__).parent / "golden"


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


def described(event: ClientEvent) -> dict[str, Any]:
    """An event as the golden file writes it."""
    match event:
        case VoiceStart(settings, request_id):
            return {"event": "VoiceStart", "request_id": request_id, "settings": settings.model_dump(mode="json")}
        case Update(settings):
            return {"event": "Update", "settings": settings.model_dump(mode="json")}
        case AudioIn(payload):
            return {"event": "AudioIn", "payload": payload.hex()}
        case Commit() | Cancel() | Played() | Stop() | ChatStart() | ChatCancel() | Resume():
            fields = {name: getattr(event, name) for name in event.__dataclass_fields__}
            return {"event": type(event).__name__, **fields}


@pytest.mark.parametrize("vector", lines("client_frames.jsonl"), ids=lambda vector: vector["name"])
def test_a_recorded_client_frame_means_what_it_meant(vector: dict[str, Any]) -> None:
    codec = VoiceCodec("req_1")

    for frame in vector["before"]:
        codec.feed(frame)
    frame = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["frame"]

    assert described(codec.feed(frame)) == vector["means"]


GOLDEN_EVENTS: tuple[Any, ...] = (
    events.SessionStarted("s1", "assistant", {"stt": "whisper", "tts": "piper"}),
    events.SessionDraining(30_000),
    events.SpeechStartedHeard(1, 640),
    events.SpeechStoppedHeard(1, 1_920),
    events.TranscriptUpdated(1, "go", False, 640, 1_400),
    events.TranscriptUpdated(1, "Gå «10» m.", True, 640, 1_920, "t1", "nb", 0.5),
    events.TurnStarted("t1", "Go.", "speech"),
    events.ReplyText("t1", 'Say "hi"\n'),
    EncodedAudio("t1", bytes(range(12)), 0, 20),
    events.AudioOutEnded("t1", 1_840),
    events.Caption("user", "Go.", 640, 1_920, True),
    events.Interrupted("t1", 760, "Going", True),
    events.Resumed("t1", 760),
    events.ToolCalled("t1", "c1", "move", '{"m":10}'),
    events.ToolReturned("t1", "c1", "move", "ok", False),
    events.TurnLatency("t1", (events.StageLatency("total", 0.0, 512.5, "whisper"),)),
    events.Degraded("silero", "push_to_talk", "It failed."),
    events.ContentFiltered("t1", "prompt", (FilteredCategory("violence", "high"), FilteredCategory("jailbreak"))),
    events.TurnCompleted("t1", "Going.", False, events.TurnUsage(1, 2, 3, 1_580, 1_841)),
    events.TurnCompleted("t1", "", False, error_code="provider.timeout"),
    events.AudioQuality("clipping", "Too loud.", {"peak_dbfs": -0.5}),
    events.Failed("request.invalid", "Oh.", False, None, {"field": "codec"}),
    events.VisemesOut("t1", (events.MouthShape(19, 0), events.MouthShape(6, 85))),
)


def encoded(codec: VoiceCodec, event: Any, event_id: int) -> str:
    frame = (
        codec.encode_audio(event, event_id, 1_000 + event_id)[0]
        if isinstance(event, EncodedAudio)
        else codec.encode(event, event_id, 1_000 + event_id)
    )
    assert isinstance(frame, str)
    return frame


def test_server_events_look_as_they_looked() -> None:
    codec = VoiceCodec("req_1")
    codec.feed('{"type":"voice.start","request_id":"start-1"}')

    frames = [encoded(codec, event, number) for number, event in enumerate(GOLDEN_EVENTS, start=1)]

    assert frames == (GOLDEN / "server_frames.jsonl").read_text(encoding="utf-8").splitlines()


def test_the_golden_audio_is_the_events_audio() -> None:
    (audio,) = [message for message in lines("server_frames.jsonl") if message["type"] == "voice.audio"]

    assert base64.b64decode(audio["bytes_base64"]) == bytes(range(12))
