"""The flat session of Voice Live: what each setting means, what is refused and where, what is warned about."""

from __future__ import annotations

from typing import Any

import pytest

from agents.core.budget_profiles import profile
from agents.core.options import Identity
from agents.models.port import ToolNamed
from audio.formats import AudioFormat, Encoding
from server.latency_choice import SessionLatency
from server.sessions.realtime_options import Surroundings, realtime_options
from server.wire.realtime.faults import RealtimeFault
from server.wire.realtime.settings import Detection
from server.wire.realtime.voice_live_config import VoiceLiveConfig
from server.wire.realtime.voice_live_warnings import Abilities
from server.wire.realtime.word_times import TimedWord, timed_words

ABILITIES = Abilities(("joe", "amy"), frozenset({"en-US"}), frozenset({"en", "de"}))
TOOL = {"type": "function", "name": "lookup", "description": "Look up.", "parameters": {"type": "object"}}
AZURE = {"type": "azure-standard", "name": "joe"}
HEARD = {"model": "azure-speech"}
STATIC = {"type": "static_interim_response"}


def opened(abilities: Abilities = ABILITIES) -> VoiceLiveConfig:
    return VoiceLiveConfig.opened("gpt-realtime", "sess_1", 1_800_000_000, abilities)


def detected(**fields: Any) -> Detection | None:
    return opened().updated({"turn_detection": fields}).settings.detection


# --- what settings mean -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "name", "value"),
    [
        ({"instructions": "Be kind."}, "instructions", "Be kind."),
        ({"modalities": ["text"]}, "audible", False),
        ({"modalities": ["audio"]}, "audible", True),
        ({"voice": "alloy"}, "voice", "alloy"),
        ({"voice": AZURE}, "voice", "joe"),
        ({"voice": {"type": "azure-custom", "name": "amy", "endpoint_id": "e"}}, "voice", "amy"),
        ({"voice": {"type": "azure-personal", "name": "amy", "model": "PhoenixV2Neural"}}, "voice", "amy"),
        ({"voice": {"type": "avatar-voice-sync", "model": "PhoenixV2Neural"}}, "voice", None),
        ({"voice": {"type": "openai", "name": "marin"}}, "voice", "marin"),
        ({"voice": {"type": "azure-realtime-native", "name": "ava"}}, "voice", "ava"),
        ({"voice": AZURE | {"rate": "1.5"}}, "speed", 1.5),
        ({"voice": AZURE | {"rate": "+20%"}}, "speed", 1.2),
        ({"voice": AZURE | {"rate": "-10%"}}, "speed", 0.9),
        ({"voice": AZURE | {"rate": "slow"}}, "speed", 0.64),
        ({"voice": AZURE | {"rate": "9"}}, "speed", 2.0),
        ({"tool_choice": "none"}, "tool_choice", "none"),
        ({"tool_choice": {"type": "function", "name": "lookup"}}, "tool_choice", ToolNamed("lookup")),
        ({"temperature": 0.3}, "temperature", 0.3),
        ({"max_response_output_tokens": 99}, "max_output_tokens", 99),
        ({"max_response_output_tokens": "inf"}, "max_output_tokens", None),
        ({"output_audio_timestamp_types": ["word"]}, "word_times", True),
        ({"interim_response": STATIC | {"latency_threshold_ms": 900}}, "filler_after_ms", 900),
        ({"interim_response": STATIC}, "filler_after_ms", 2_000),
        ({"interim_response": STATIC | {"triggers": ["tool"]}}, "filler_after_ms", None),
        ({"interim_response": STATIC | {"texts": ["Well."]}}, "filler_texts", ("Well.",)),
        ({"interim_response": {"type": "llm_interim_response"}}, "filler_after_ms", 2_000),
    ],
)
def test_a_setting_of_replies_means(patch: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(opened().updated(patch).settings.reply, name) == pytest.approx(value)


@pytest.mark.parametrize(
    ("patch", "name", "value"),
    [
        ({}, "input_format", AudioFormat(Encoding.PCM16, 24_000)),
        ({"input_audio_sampling_rate": 16_000}, "input_format", AudioFormat(Encoding.PCM16, 16_000)),
        ({"input_audio_sampling_rate": 8_000}, "input_format", AudioFormat(Encoding.PCM16, 8_000)),
        ({"input_audio_format": "g711_ulaw"}, "input_format", AudioFormat(Encoding.G711_ULAW, 8_000)),
        ({"input_audio_format": "g711_alaw"}, "input_format", AudioFormat(Encoding.G711_ALAW, 8_000)),
        ({"output_audio_format": "pcm16_8000hz"}, "output_format", AudioFormat(Encoding.PCM16, 8_000)),
        ({"output_audio_format": "pcm16-16000hz"}, "output_format", AudioFormat(Encoding.PCM16, 16_000)),
        ({"output_audio_format": "g711_alaw"}, "output_format", AudioFormat(Encoding.G711_ALAW, 8_000)),
        ({"input_audio_transcription": HEARD}, "transcribes", True),
        ({"input_audio_transcription": None}, "transcribes", False),
        ({"input_audio_transcription": HEARD | {"language": "en-US"}}, "language", "en-US"),
        ({"input_audio_transcription": HEARD | {"language": "zh, de"}}, "language", "de"),
        ({"input_audio_transcription": HEARD | {"language": "zh"}}, "language", None),
        ({"voice": AZURE | {"locale": "de-DE"}}, "language", "de-DE"),
        ({"turn_detection": {"type": "azure_semantic_vad", "languages": ["de"]}}, "language", "de"),
        ({"input_audio_transcription": HEARD | {"phrase_list": ["Convergio"]}}, "phrases", ("Convergio",)),
        ({"turn_detection": None}, "detection", None),
        ({"turn_detection": {"type": "none"}}, "detection", None),
    ],
)
def test_a_setting_of_the_session_means(patch: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(opened().updated(patch).settings, name) == value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "server_vad"}, Detection()),
        (
            {"type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 200, "silence_duration_ms": 600},
            Detection(threshold=0.7, prefix_padding_ms=200, silence_ms=600),
        ),
        ({"type": "server_vad", "create_response": False}, Detection(replies=False)),
        ({"type": "azure_semantic_vad", "interrupt_response": False}, Detection("semantic", interrupts=False)),
        ({"type": "azure_semantic_vad_multilingual", "speech_duration_ms": 80, "remove_filler_words": True},
         Detection("semantic", min_speech_ms=80)),
        ({"type": "azure_semantic_vad_en", "end_of_utterance_detection":
            {"model": "semantic_detection_v1_en", "threshold_level": "low", "timeout_ms": 900}},
         Detection("semantic", max_wait_ms=900, eagerness="high")),
        ({"type": "server_vad", "end_of_utterance_detection":
            {"model": "semantic_detection_v1", "threshold_level": "high"}},
         Detection("semantic", eagerness="low")),
    ],
)  # fmt: skip
def test_turn_detection_means(fields: dict[str, Any], expected: Detection) -> None:
    assert detected(**fields) == expected


def test_silence_and_timeout_bound_the_end_of_a_turn() -> None:
    end = {"model": "semantic_detection_v1", "timeout_ms": 900}
    config = opened().updated(
        {
            "turn_detection": {
                "type": "azure_semantic_vad", "silence_duration_ms": 300, "end_of_utterance_detection": end
            },
            "interim_response": STATIC | {"texts": ["Well, now."]},
        }
    )  # fmt: skip
    around = Surroundings(Identity("s"), SessionLatency(profile("azure")))
    policy = realtime_options(config.settings, around).policy
    assert (policy.min_wait_ms, policy.wait_ms, policy.max_wait_ms) == (300, 700, 900)
    assert (policy.filler_after_ms, policy.rules.fillers) == (2_000, ("Well, now.",))


# --- how updates add up -----------------------------------------------------------------------------------------------


def test_what_an_update_names_replaces_and_the_rest_stays() -> None:
    config = opened().updated({"voice": AZURE | {"rate": "1.5"}, "instructions": "Be kind."})
    config = config.updated({"voice": AZURE, "tools": [TOOL]})
    assert (config.settings.reply.speed, config.settings.reply.instructions) == (1.0, "Be kind.")
    assert [tool.name for tool in config.settings.reply.tools] == ["lookup"]


def test_null_gives_a_field_back_its_default() -> None:
    config = opened().updated({"voice": "amy", "modalities": ["text"], "input_audio_format": "g711_ulaw"})
    nothing = {"voice": None, "modalities": None, "input_audio_format": None, "input_audio_sampling_rate": None}
    assert config.updated(nothing).rendered() == opened().rendered()


def test_the_sampling_rate_follows_the_format() -> None:
    config = opened().updated({"input_audio_sampling_rate": 16_000}).updated({"input_audio_format": "pcm16"})
    assert config.rendered()["input_audio_sampling_rate"] == 16_000
    config = config.updated({"input_audio_format": "g711_alaw"})
    assert config.rendered()["input_audio_sampling_rate"] == 8_000
    assert config.updated({"input_audio_format": "pcm16"}).rendered()["input_audio_sampling_rate"] == 24_000


def test_flags_of_turn_detection_are_spelled_out_and_none_is_null() -> None:
    config = opened().updated({"turn_detection": {"type": "azure_semantic_vad", "create_response": False}})
    flags = {"create_response": False, "interrupt_response": True, "auto_truncate": True}
    assert config.rendered()["turn_detection"] == {"type": "azure_semantic_vad", **flags}
    assert opened().updated({"turn_detection": {"type": "none"}}).rendered()["turn_detection"] is None


def test_what_only_the_server_decides_stays() -> None:
    mine = {"id": "sess_x", "expires_at": 1, "agent": {"type": "agent"}, "model": "gpt-realtime"}
    config = opened().updated(mine)
    assert (config.rendered(), config.warnings()) == (opened().rendered(), [])


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"nope": 1}, "session.nope"),
        ({"type": "realtime"}, "session.type"),
        ({"modalities": []}, "session.modalities"),
        ({"modalities": ["avatar"]}, "session.modalities"),
        ({"modalities": ["video"]}, "session.modalities[0]"),
        ({"voice": 3}, "session.voice"),
        ({"voice": {"type": "azure-other"}}, "session.voice"),
        ({"voice": {"type": "azure-standard"}}, "session.voice.name"),
        ({"voice": AZURE | {"rate": "quick"}}, "session.voice.rate"),
        ({"voice": AZURE | {"temperature": 1.5}}, "session.voice.temperature"),
        ({"voice": AZURE | {"colour": "blue"}}, "session.voice.colour"),
        ({"input_audio_format": "opus"}, "session.input_audio_format"),
        ({"input_audio_sampling_rate": 44_100}, "session.input_audio_sampling_rate"),
        ({"input_audio_format": "g711_ulaw", "input_audio_sampling_rate": 24_000}, "session.input_audio_sampling_rate"),
        ({"output_audio_format": "mp3"}, "session.output_audio_format"),
        ({"turn_detection": {"type": "semantic_vad"}}, "session.turn_detection"),
        ({"turn_detection": {"type": "server_vad", "threshold": 2}}, "session.turn_detection.threshold"),
        ({"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}},
         "session.turn_detection.silence_duration_ms"),
        ({"turn_detection": {"type": "azure_semantic_vad_en", "languages": ["en"]}},
         "session.turn_detection.languages"),
        ({"turn_detection": {"type": "azure_semantic_vad", "end_of_utterance_detection": {"model": "x"}}},
         "session.turn_detection.end_of_utterance_detection.model"),
        ({"input_audio_transcription": {"language": "en"}}, "session.input_audio_transcription.model"),
        ({"input_audio_transcription": HEARD | {"language": "?"}}, "session.input_audio_transcription.language"),
        ({"input_audio_noise_reduction": {"type": "strong"}}, "session.input_audio_noise_reduction.type"),
        ({"input_audio_echo_cancellation": {"channels": 2}}, "session.input_audio_echo_cancellation.channels"),
        ({"output_audio_timestamp_types": ["sentence"]}, "session.output_audio_timestamp_types[0]"),
        ({"animation": {"outputs": ["dance"]}}, "session.animation.outputs[0]"),
        ({"avatar": {"character": "lisa"}}, "session.avatar.customized"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools[0]"),
        ({"tools": [TOOL | {"name": "look up"}]}, "session.tools[0].name"),
        ({"tools": [TOOL, TOOL]}, "session.tools"),
        ({"tool_choice": "sometimes"}, "session.tool_choice"),
        ({"temperature": 3}, "session.temperature"),
        ({"max_response_output_tokens": 0}, "session.max_response_output_tokens"),
        ({"reasoning_effort": "some"}, "session.reasoning_effort"),
        ({"interim_response": STATIC | {"latency_threshold_ms": -1}}, "session.interim_response.latency_threshold_ms"),
        ({"interim_response": {"type": "x"}}, "session.interim_response"),
        ({"include": ["everything"]}, "session.include[0]"),
        ({"metadata": {"k": "v" * 513}}, "session.metadata.k"),
        ({"metadata": {str(n): "" for n in range(17)}}, "session.metadata"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_refused_by_name(patch: dict[str, Any], param: str) -> None:
    with pytest.raises(RealtimeFault) as refused:
        opened().updated(patch)
    assert refused.value.param == param


# --- what is warned about ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "params"),
    [
        ({"model": "gpt-other"}, ["model"]),
        ({"voice": "alloy"}, ["voice"]),
        ({"voice": {"type": "avatar-voice-sync", "model": "PhoenixV2Neural"}}, ["voice"]),
        ({"voice": AZURE | {"pitch": "+10%", "style": "sad", "volume": "+5%"}},
         ["voice.style", "voice.pitch", "voice.volume"]),
        ({"voice": AZURE | {"rate": "x-fast", "pitch": "default"}}, []),
        ({"voice": AZURE | {"rate": "3"}}, ["voice.rate"]),
        ({"voice": AZURE | {"temperature": 0.5, "custom_lexicon_url": "https://x", "prefer_locales": ["en-GB"]}},
         ["voice.temperature", "voice.custom_lexicon_url", "voice.prefer_locales"]),
        ({"voice": AZURE | {"locale": "en-GB"}}, ["voice.locale"]),
        ({"input_audio_noise_reduction": {"type": "near_field"}}, ["input_audio_noise_reduction"]),
        ({"input_audio_echo_cancellation": {}}, ["input_audio_echo_cancellation"]),
        ({"avatar": {"character": "lisa", "customized": False}}, ["avatar"]),
        ({"animation": {"outputs": ["viseme_id", "blendshapes"]}}, ["animation.outputs", "animation.outputs"]),
        ({"modalities": ["text", "audio", "avatar"]}, ["modalities"]),
        ({"reasoning_effort": "low"}, ["reasoning_effort"]),
        ({"parallel_tool_calls": False}, ["parallel_tool_calls"]),
        ({"include": ["item.input_audio_transcription.logprobs"]}, ["include"]),
        ({"interim_response": {"type": "llm_interim_response", "triggers": ["latency", "tool"]}},
         ["interim_response.triggers", "interim_response.type"]),
        ({"input_audio_transcription": HEARD | {"custom_speech": {"en": "x"}}},
         ["input_audio_transcription.custom_speech"]),
        ({"input_audio_transcription": HEARD | {"language": "fr"}}, ["input_audio_transcription.language"]),
        ({"input_audio_transcription": HEARD | {"language": "en,de"}}, ["input_audio_transcription.language"]),
        ({"turn_detection": {"type": "azure_semantic_vad", "auto_truncate": False, "speech_duration_ms": 2_000,
                             "languages": ["en", "fr"]}},
         ["turn_detection.auto_truncate", "turn_detection.speech_duration_ms", "turn_detection.languages"]),
    ],
)  # fmt: skip
def test_what_is_not_to_be_had_is_said(patch: dict[str, Any], params: list[str]) -> None:
    warnings = opened().updated(patch).warnings()
    assert [param for param, _ in warnings] == [f"session.{param}" for param in params]
    assert all(sentence.endswith(".") for _, sentence in warnings)


def test_what_works_is_not_warned_about() -> None:
    patch = {
        "modalities": ["text", "audio"],
        "voice": AZURE | {"rate": "1.1", "locale": "en-US"},
        "instructions": "Be kind.",
        "input_audio_sampling_rate": 16_000,
        "turn_detection": {"type": "azure_semantic_vad", "remove_filler_words": True, "languages": ["en"]},
        "input_audio_transcription": HEARD | {"language": "en", "phrase_list": ["Convergio"]},
        "output_audio_timestamp_types": ["word"],
        "interim_response": STATIC | {"triggers": ["latency"], "texts": ["Well."]},
        "include": ["item.input_audio_transcription.phrases"],
        "tools": [TOOL],
        "metadata": {"k": "v"},
    }
    config = opened().updated(patch)
    assert config.warnings() == []
    assert config.rendered().items() >= {"metadata": {"k": "v"}, "modalities": ["text", "audio"]}.items()


def test_only_the_update_at_hand_is_warned_about() -> None:
    assert opened().updated({"voice": "alloy"}).updated({"instructions": "Be kind."}).warnings() == []


def test_what_never_comes_into_force_is_not_told_as_if_it_had() -> None:
    config = opened().updated(
        {
            "avatar": {"character": "lisa", "customized": False},
            "modalities": ["text", "animation"],
            "reasoning_effort": "low",
        }
    )
    assert not {"avatar", "reasoning_effort"} & config.rendered().keys()
    assert config.rendered()["modalities"] == ["text"]


def test_engines_that_say_nothing_of_themselves_are_not_doubted() -> None:
    config = opened(Abilities()).updated({"input_audio_transcription": HEARD | {"language": "fr"}})
    assert (config.settings.language, config.warnings()) == ("fr", [])


# --- word times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  ", []),
        ("Hi.", [TimedWord("Hi.", 100, 1_100)]),
        (" Hi, you. ", [TimedWord("Hi,", 100, 600), TimedWord("you.", 600, 1_100)]),
        ("天気。", [TimedWord("天", 100, 433), TimedWord("気。", 433, 1_100)]),
    ],
)
def test_words_share_out_the_time_of_their_phrase(text: str, words: list[TimedWord]) -> None:
    assert timed_words(text, 100, 1_100) == words
