"""What the voice codec makes of a client's frames."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from audio.formats import AudioFormat, Encoding
from server.contracts.errors import ErrorCode
from server.contracts.examples import CLIENT_EXAMPLES
from server.wire.client_events import (
    AudioIn,
    Cancel,
    ChatCancel,
    ChatStart,
    Commit,
    Played,
    Resume,
    Stop,
    Update,
    VoiceStart,
)
from server.wire.errors import WireError
from server.wire.voice_json import VoiceCodec, WireLimits


def started(**settings: Any) -> VoiceCodec:
    codec = VoiceCodec("req_1")
    codec.feed(json.dumps({"type": "voice.start", **settings}))
    return codec


def refusal(codec: VoiceCodec, frame: str | bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        codec.feed(frame)
    return caught.value


def test_a_bare_voice_start_gets_a_whole_session() -> None:
    event = VoiceCodec("req_1").feed('{"type":"voice.start"}')

    assert isinstance(event, VoiceStart)
    assert event.request_id is None
    assert event.settings.input_format == AudioFormat(Encoding.PCM16, 16_000)
    assert event.settings.output.format == AudioFormat(Encoding.PCM16, 24_000)
    assert event.settings.turn_detection.type == "auto"
    assert event.settings.output.modalities == ("audio", "text")
    assert not event.settings.binary


@pytest.mark.parametrize(
    ("codec", "rate_hz"), [("pcm16", 16_000), ("g711_ulaw", 8_000), ("g711_alaw", 8_000), ("opus", 48_000)]
)
def test_an_absent_sample_rate_follows_the_codec(codec: str, rate_hz: int) -> None:
    event = VoiceCodec("r").feed(json.dumps({"type": "voice.start", "codec": codec}))

    assert isinstance(event, VoiceStart)
    assert event.settings.input_format == AudioFormat(Encoding(codec), rate_hz)


def test_the_clients_request_id_names_the_session_from_voice_start_on() -> None:
    codec = VoiceCodec("req_1")

    codec.feed('{"type":"voice.start","request_id":"mine"}')

    assert codec.request_id == "mine"


def test_a_chunk_yields_its_bytes() -> None:
    payload = bytes(range(256))
    frame = json.dumps({"type": "voice.chunk", "request_id": "x", "bytes_base64": base64.b64encode(payload).decode()})

    assert started().feed(frame) == AudioIn(payload)


def test_a_binary_frame_is_audio_once_it_was_asked_for() -> None:
    assert started(binary=True).feed(b"\x01\x02") == AudioIn(b"\x01\x02")


def test_base64_chunks_are_still_taken_in_binary_mode() -> None:
    assert started(binary=True).feed('{"type":"voice.chunk","bytes_base64":"AQI="}') == AudioIn(b"\x01\x02")


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ({"type": "voice.commit"}, Commit()),
        ({"type": "voice.cancel"}, Cancel(None)),
        ({"type": "voice.cancel", "request_id": "t1"}, Cancel("t1")),
        ({"type": "voice.played", "request_id": "t1", "audio_ms": 40}, Played(40, "t1")),
        ({"type": "voice.played", "audio_ms": 0}, Played(0, None)),
        ({"type": "voice.stop"}, Stop()),
        ({"type": "chat.start", "prompt": "hi", "request_id": "t2"}, ChatStart("hi", "t2")),
        (
            {"type": "chat.start", "prompt": "hi", "agent_id": "a", "mode": "byok", "model_hint": "m"},
            ChatStart("hi", None, "a", "byok", "m"),
        ),
        ({"type": "chat.cancel", "request_id": "t2"}, ChatCancel("t2")),
    ],
)
def test_every_plain_message_has_its_event(frame: dict[str, Any], event: object) -> None:
    assert started().feed(json.dumps(frame)) == event


@pytest.mark.parametrize("voice", [True, False])
def test_a_session_is_resumed_by_the_first_message(voice: bool) -> None:
    codec = VoiceCodec("r", voice=voice)

    assert codec.feed('{"type":"session.resume","session_id":"s1","last_event_id":41}') == Resume("s1", 41)


def test_a_session_may_be_started_after_one_could_not_be_resumed() -> None:
    codec = VoiceCodec("r")
    codec.feed('{"type":"session.resume","session_id":"gone","last_event_id":0}')

    assert isinstance(codec.feed('{"type":"voice.start"}'), VoiceStart)


def test_fields_nobody_knows_are_ignored_at_every_depth() -> None:
    frame = {"type": "voice.start", "hologram": True, "output": {"smell": "coffee"}, "turn_detection": {"aura": [1]}}

    assert isinstance(VoiceCodec("r").feed(json.dumps(frame)), VoiceStart)


# --- voice.update ------------------------------------------------------------------------------------------------


def test_an_update_changes_what_it_names_and_keeps_the_rest() -> None:
    codec = started(output={"codec": "g711_ulaw", "rate": 1.5}, turn_detection={"threshold": 0.7, "min_wait_ms": 300})

    event = codec.feed('{"type":"voice.update","turn_detection":{"type":"push_to_talk"},"output":{"captions":false}}')

    assert isinstance(event, Update)
    assert event.settings.turn_detection.type == "push_to_talk"
    assert event.settings.turn_detection.threshold == 0.7
    assert event.settings.turn_detection.min_wait_ms == 300
    assert event.settings.output.rate == 1.5
    assert event.settings.output.format == AudioFormat(Encoding.G711_ULAW, 8_000)
    assert not event.settings.output.captions
    assert codec.settings == event.settings


def test_updates_add_up() -> None:
    codec = started()

    codec.feed('{"type":"voice.update","accessibility":{"patience":"patient"}}')
    event = codec.feed('{"type":"voice.update","accessibility":{"simple_language":true}}')

    assert isinstance(event, Update)
    assert event.settings.accessibility.patience == "patient"
    assert event.settings.accessibility.simple_language


def test_an_update_cannot_change_the_format_of_audio() -> None:
    codec = started()

    codec.feed('{"type":"voice.update","output":{"codec":"opus","sample_rate":48000}}')

    assert codec.settings is not None
    assert codec.settings.output.format == AudioFormat(Encoding.PCM16, 24_000)


def test_an_update_that_contradicts_what_stands_is_refused_and_changes_nothing() -> None:
    codec = started(turn_detection={"max_wait_ms": 500})
    before = codec.settings

    error = refusal(codec, '{"type":"voice.update","turn_detection":{"min_wait_ms":900}}')

    assert error.code is ErrorCode.REQUEST_INVALID
    assert "min_wait_ms" in error.message
    assert codec.settings == before


# --- order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(CLIENT_EXAMPLES) - {"voice.start", "session.resume"}))
def test_nothing_but_an_opening_message_comes_before_voice_start(kind: str) -> None:
    error = refusal(VoiceCodec("r"), json.dumps(CLIENT_EXAMPLES[kind]))

    assert error.code is ErrorCode.REQUEST_INVALID
    assert not error.fatal
    assert "voice.start" in error.message


def test_a_binary_frame_before_voice_start_is_refused() -> None:
    assert refusal(VoiceCodec("r"), b"\0\0").code is ErrorCode.REQUEST_INVALID


def test_a_binary_frame_nobody_asked_for_is_refused() -> None:
    assert '"binary": true' in refusal(started(), b"\0\0").message


@pytest.mark.parametrize("kind", ["voice.start", "session.resume"])
def test_a_running_session_is_not_opened_again(kind: str) -> None:
    codec = started(binary=True)

    assert "first message" in refusal(codec, json.dumps(CLIENT_EXAMPLES[kind])).message
    assert codec.binary


@pytest.mark.parametrize("kind", sorted(kind for kind in CLIENT_EXAMPLES if kind.startswith("voice.")))
def test_the_chat_socket_takes_no_voice(kind: str) -> None:
    error = refusal(VoiceCodec("r", voice=False), json.dumps(CLIENT_EXAMPLES[kind]))

    assert error.code is ErrorCode.REQUEST_INVALID
    assert "/v1/voice/ws" in error.message


def test_the_chat_socket_needs_no_start() -> None:
    codec = VoiceCodec("r", voice=False)

    assert codec.feed('{"type":"chat.start","prompt":"hi"}') == ChatStart("hi")
    assert codec.feed('{"type":"chat.cancel"}') == ChatCancel()


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"type":"voice.start"} trailing', "not valid JSON"),
        ('{"type":"voice.start","codec":NaN}', "not valid JSON"),
        ('{"type":"voice.start","hologram":Infinity}', "not valid JSON"),
        ("[" * 5_000, "not valid JSON"),
        ('{"type":"voice.start","deep":' + "[" * 5_000 + "]" * 5_000 + "}", "nested"),
        ('{"type":"voice.start","locale":"\ud800"}', "not valid JSON"),
        ("[]", "not an object"),
        ("null", "not an object"),
        ('"voice.start"', "not an object"),
        ("{}", 'no "type"'),
        ('{"type":null}', 'no "type"'),
        ('{"type":7}', '"type"'),
        ('{"type":"voice.sing"}', '"type"'),
        ('{"type":"session.started"}', '"type"'),
    ],
)
def test_what_is_no_message_is_refused_with_a_sentence(frame: str, words: str) -> None:
    error = refusal(VoiceCodec("r"), frame)

    assert error.code is ErrorCode.REQUEST_INVALID
    assert not error.fatal
    assert words in error.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"codec": "mp3"}, "codec"),
        ({"codec": None}, "codec"),
        ({"sample_rate": "16000"}, "sample_rate"),
        ({"sample_rate": 16_000.5}, "sample_rate"),
        ({"sample_rate": 44_100}, "sample_rate"),
        ({"mode": "free"}, "mode"),
        ({"agent_id": "../etc"}, "agent_id"),
        ({"locale": "english please"}, "locale"),
        ({"binary": 1}, "binary"),
        ({"request_id": "a b"}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"timestamp_ms": -1}, "timestamp_ms"),
        ({"turn_detection": []}, "turn_detection"),
        ({"turn_detection": {"threshold": 1.5}}, "turn_detection.threshold"),
        ({"turn_detection": {"min_silence_ms": 10**30}}, "turn_detection.min_silence_ms"),
        ({"turn_detection": {"eagerness": "very"}}, "turn_detection.eagerness"),
        ({"output": {"rate": 2.01}}, "output.rate"),
        ({"output": {"modalities": []}}, "output.modalities"),
        ({"output": {"modalities": ["smell"]}}, "output.modalities.0"),
        ({"accessibility": {"patience": "endless"}}, "accessibility.patience"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(fields: dict[str, Any], field: str) -> None:
    codec = VoiceCodec("r")

    error = refusal(codec, json.dumps({"type": "voice.start", **fields}))

    assert error.code is ErrorCode.REQUEST_INVALID
    assert error.field == field
    assert error.message.startswith(f"voice.start: {field}: ")
    assert codec.settings is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"codec": "g711_ulaw", "sample_rate": 16_000}, "8000 Hz"),
        ({"output": {"codec": "opus", "sample_rate": 24_000}}, "48000 Hz"),
        ({"turn_detection": {"min_wait_ms": 900, "max_wait_ms": 500}}, "min_wait_ms"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_the_rule(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(VoiceCodec("r"), json.dumps({"type": "voice.start", **fields})).message


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ('{"type":"voice.chunk"}', "bytes_base64: Field required"),
        ('{"type":"voice.chunk","bytes_base64":5}', "bytes_base64: Input should be"),
        ('{"type":"voice.chunk","bytes_base64":"*"}', "bytes_base64: Input should be"),
        ('{"type":"voice.chunk","bytes_base64":"AAA"}', "bytes_base64: Input should be"),
        ('{"type":"voice.played"}', "audio_ms"),
        ('{"type":"voice.played","audio_ms":-5}', "audio_ms"),
        ('{"type":"voice.played","audio_ms":1.5}', "audio_ms"),
        ('{"type":"chat.start"}', "prompt"),
        ('{"type":"chat.start","prompt":""}', "prompt"),
    ],
)
def test_a_faulty_message_in_a_session_is_refused_and_the_session_goes_on(frame: str, words: str) -> None:
    codec = started()

    error = refusal(codec, frame)

    assert words in error.message
    assert not error.fatal
    assert codec.feed('{"type":"voice.commit"}') == Commit()


def test_a_refusal_never_repeats_what_the_client_sent() -> None:
    error = refusal(started(), '{"type":"chat.start","prompt":["my-secret-key"]}')

    assert "my-secret-key" not in error.message


def test_a_refusal_becomes_an_error_event_that_names_the_field() -> None:
    event = refusal(started(), '{"type":"voice.played","audio_ms":"x"}').to_event()

    assert event.code == "request.invalid"
    assert not event.retryable
    assert event.details == {"field": "audio_ms"}


# --- limits ------------------------------------------------------------------------------------------------------


def test_audio_may_be_as_large_as_its_limit_and_no_larger() -> None:
    codec = VoiceCodec("r", limits=WireLimits(max_audio_bytes=1_000))
    codec.feed('{"type":"voice.start","binary":true}')

    assert codec.feed(bytes(1_000)) == AudioIn(bytes(1_000))
    error = refusal(codec, bytes(1_001))
    assert error.code is ErrorCode.REQUEST_TOO_LARGE
    assert error.fatal
    assert error.close_code == 4413


def test_a_chunk_has_the_limit_of_audio_and_any_other_message_that_of_text() -> None:
    codec = VoiceCodec("r", limits=WireLimits(max_audio_bytes=4_000, max_text_bytes=500))
    codec.feed('{"type":"voice.start"}')
    chunk = json.dumps({"type": "voice.chunk", "bytes_base64": base64.b64encode(bytes(2_000)).decode()})

    assert codec.feed(chunk) == AudioIn(bytes(2_000))
    prompt = json.dumps({"type": "chat.start", "prompt": "x" * 500})
    assert refusal(codec, prompt).code is ErrorCode.REQUEST_TOO_LARGE
    assert refusal(codec, chunk + " " * 4_000).code is ErrorCode.REQUEST_TOO_LARGE


def test_limits_count_bytes_not_characters() -> None:
    codec = VoiceCodec("r", limits=WireLimits(max_text_bytes=100))
    codec.feed('{"type":"voice.start"}')

    frame = '{"type":"chat.start","prompt":"' + "語" * 30 + '"}'
    assert len(frame) < 100
    assert refusal(codec, frame).code is ErrorCode.REQUEST_TOO_LARGE


def test_a_client_that_only_sends_faults_is_ended() -> None:
    codec = VoiceCodec("r", limits=WireLimits(max_faults=3))

    assert [refusal(codec, "?").fatal for _ in range(3)] == [False, False, True]


def test_one_good_frame_forgives_the_faults_before_it() -> None:
    codec = VoiceCodec("r", limits=WireLimits(max_faults=3))
    codec.feed('{"type":"voice.start"}')

    for _ in range(5):
        assert [refusal(codec, "?").fatal for _ in range(2)] == [False, False]
        codec.feed('{"type":"voice.commit"}')
