"""A conversation for the scripted stand-in: three turns with everything the page can show of one.

Used where a page with content is needed (its picture, its accessibility) and no engines are there to make it.
"""

from __future__ import annotations

from typing import Any

from voice_stub import Message, StubCall, speechlike

STAGES_SPOKEN: list[dict[str, Any]] = [
    {"stage": "endpoint", "start_ms": 0.0, "duration_ms": 214.0, "provider": "smart-turn"},
    {"stage": "stt", "start_ms": 96.0, "duration_ms": 131.0, "provider": "whisper"},
    {"stage": "agent", "start_ms": 227.0, "duration_ms": 118.0, "provider": "llama.cpp"},
    {"stage": "tts", "start_ms": 345.0, "duration_ms": 96.0, "provider": "piper"},
    {"stage": "egress", "start_ms": 441.0, "duration_ms": 1.2, "provider": None},
    {"stage": "total", "start_ms": 0.0, "duration_ms": 442.2, "provider": None},
]
STAGES_AGAIN: list[dict[str, Any]] = [
    {"stage": "endpoint", "start_ms": 0.0, "duration_ms": 188.0, "provider": "smart-turn"},
    {"stage": "stt", "start_ms": 96.0, "duration_ms": 117.0, "provider": "whisper"},
    {"stage": "agent", "start_ms": 213.0, "duration_ms": 64.0, "provider": "llama.cpp"},
    {"stage": "tts", "start_ms": 277.0, "duration_ms": 101.0, "provider": "piper"},
    {"stage": "egress", "start_ms": 378.0, "duration_ms": 0.9, "provider": None},
    {"stage": "total", "start_ms": 0.0, "duration_ms": 378.9, "provider": None},
]
STAGES_TYPED: list[dict[str, Any]] = [
    {"stage": "agent", "start_ms": 0.0, "duration_ms": 142.0, "provider": "llama.cpp"},
    {"stage": "tts", "start_ms": 142.0, "duration_ms": 88.0, "provider": "piper"},
    {"stage": "egress", "start_ms": 230.0, "duration_ms": 0.8, "provider": None},
    {"stage": "total", "start_ms": 0.0, "duration_ms": 230.8, "provider": None},
]
HIGH_WATER = ("Today at ten past four in the afternoon.",)
MOON = ("It goes around us once in twenty-seven days.", "We always see the same side.")
TIDES = ("The moon pulls at the sea,", "and the sea follows it,", "so twice a day the water rises and falls.")


async def hears(call: StubCall, utterance_id: int, text: str) -> None:
    """The user says ``text``: partials word by word, then the final."""
    span: Message = {"utterance_id": utterance_id, "start_ms": 400, "end_ms": 2_200}
    await call.send("vad.speech_started", utterance_id=utterance_id, at_ms=400)
    words = text.split()
    for count in range(2, len(words), 2):
        await call.expect_frames(8)
        await call.send("transcript.partial", text=" ".join(words[:count]).lower(), **span)
    await call.send("vad.speech_stopped", utterance_id=utterance_id, at_ms=2_200)
    await call.send("transcript.final", text=text, confidence=0.94, **span)


async def speaks(call: StubCall, turn_id: str, phrases: tuple[str, ...], stages: list[dict[str, Any]]) -> int:
    """The agent says ``phrases``, 30 ms a letter; returns the length of it all in milliseconds."""
    at_ms = 0
    for phrase in phrases:
        await call.send("chat.token", turn_id, text=f"{phrase} ")
    for phrase in phrases:
        length_ms = 30 * len(phrase)
        await call.send_audio(turn_id, speechlike(length_ms), start_ms=at_ms)
        span = {"start_ms": at_ms, "end_ms": at_ms + length_ms}
        await call.send("caption", turn_id, speaker="agent", text=phrase, final=True, **span)
        if at_ms == 0:
            await call.send("turn.latency", turn_id, stages=stages)
        at_ms += length_ms
    await call.send("voice.audio.done", turn_id, audio_ms=at_ms)
    return at_ms


async def completes(call: StubCall, turn_id: str, text: str, *, interrupted: bool = False, **usage: float) -> None:
    """The turn is over."""
    zero = {"in_tokens": 0, "out_tokens": 0, "tool_calls": 0, "audio_in_s": 0.0, "audio_out_s": 0.0}
    await call.send("chat.complete", turn_id, text=text, interrupted=interrupted, usage=zero | usage)


async def conversation(call: StubCall) -> None:
    """Asked in writing and answered; asked aloud and answered; asked aloud again and interrupted."""
    await call.start()
    typed = await call.expect("chat.start")
    turn_id = typed["request_id"]
    await call.send("turn.started", turn_id, text=typed["prompt"], source="text")
    tool = {"call_id": "c-1", "name": "tide_table"}
    await call.send("tool.call", turn_id, arguments="{}", **tool)
    await call.send("tool.result", turn_id, output="16:10", error=False, **tool)
    length_ms = await speaks(call, turn_id, HIGH_WATER, STAGES_TYPED)
    await call.heard(turn_id, length_ms)
    await completes(call, turn_id, HIGH_WATER[0], in_tokens=61, out_tokens=12, tool_calls=1, audio_out_s=1.2)

    await hears(call, 1, "How long does the moon take to go around us?")
    await call.send("turn.started", "t-1", text="How long does the moon take?", source="speech")
    length_ms = await speaks(call, "t-1", MOON, STAGES_SPOKEN)
    await call.heard("t-1", length_ms)
    await completes(call, "t-1", " ".join(MOON), in_tokens=97, out_tokens=24, audio_in_s=1.8, audio_out_s=2.2)

    await hears(call, 2, "And why are there tides?")
    await call.send("turn.started", "t-2", text="And why are there tides?", source="speech")
    await speaks(call, "t-2", TIDES, STAGES_AGAIN)
    await call.heard("t-2", 900)
    await call.send("voice.interrupted", "t-2", heard_ms=900, heard_text=TIDES[0], resumable=False)
    usage = {"in_tokens": 133, "out_tokens": 31, "audio_in_s": 1.1, "audio_out_s": 0.9}
    await completes(call, "t-2", TIDES[0], interrupted=True, **usage)
