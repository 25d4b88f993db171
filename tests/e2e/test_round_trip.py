"""The main job, end to end: human speech in, a spoken answer out, over the real socket of the real server.

What the user said is compared with the recordings' words; what the agent said is transcribed back and compared with
its text. Embedded engines, every wire format in both directions, and the command line.
"""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_server import RealServer, require_engines, run_program
from spoken import SPEECH, decoded, encoded, match, quiet, said, transcript
from voice_socket import Client, begun

from audio.formats import AudioFormat, Encoding, Samples
from audio.stt.whisper_model import WhisperModel, packaged_model

pytestmark = pytest.mark.engines

PCM8, PCM16, PCM24, PCM48 = (AudioFormat(Encoding.PCM16, rate) for rate in (8_000, 16_000, 24_000, 48_000))
ULAW = AudioFormat(Encoding.G711_ULAW, 8_000)
ALAW = AudioFormat(Encoding.G711_ALAW, 8_000)
OPUS = AudioFormat(Encoding.OPUS, 48_000)

ROUND_TRIPS = [
    ("goforward", PCM16, PCM24, False),
    ("librivox_0930", PCM24, PCM24, True),
    ("librivox_0870", PCM48, PCM48, True),
    ("arctic_a0007", PCM16, PCM16, False),
    ("goforward", PCM8, PCM8, True),
    ("librivox_0930", ULAW, ULAW, True),
    ("cards_003", ALAW, ALAW, False),
    ("librivox_0890", OPUS, OPUS, True),
    ("goforward", OPUS, OPUS, False),
]
UNDERSTOOD = 0.75
INTELLIGIBLE = 0.8


@pytest.fixture(scope="module")
def listener() -> WhisperModel:
    """Who listens to the agent."""
    require_engines()
    return WhisperModel(packaged_model(), workers=1)


def heard_by(listener: WhisperModel, samples: Samples) -> str:
    return listener.decode(samples, listener.prompt("en")).text


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


async def conversation(server: RealServer, name: str, ways: tuple[AudioFormat, AudioFormat], binary: bool) -> Client:
    """Say a recording, wait for the answer, leave."""
    there, back = ways
    output = {"codec": back.encoding, "sample_rate": back.sample_rate_hz}
    start = {"codec": there.encoding, "sample_rate": there.sample_rate_hz, "output": output, "binary": binary}
    async with begun(server, **start) as client:
        await client.send_audio(encoded(said(name), there, 20), binary=binary)
        await client.until("chat.complete", within_s=40)
        await client.say("voice.stop")
        assert await client.closed() == 1000
    return client


@pytest.mark.parametrize(("name", "there", "back", "binary"), ROUND_TRIPS)
async def test_human_speech_is_understood_and_the_answer_can_be_understood_too(
    embedded: RealServer, listener: WhisperModel, name: str, there: AudioFormat, back: AudioFormat, binary: bool
) -> None:
    client = await conversation(embedded, name, (there, back), binary)
    final, done = client.of("transcript.final")[-1], client.of("chat.complete")[0]
    assert match(transcript(name), final["text"]) >= UNDERSTOOD, final["text"]
    # The token limit may end a reply in the middle of a phrase; that phrase is not said.
    assert "".join(token["text"] for token in client.of("chat.token")).startswith(done["text"])
    assert len(client.of("chat.complete")) == 1
    assert not done["interrupted"]
    assert "error_code" not in done
    answer = decoded(client.payloads, back)
    assert loudness(answer) > 300
    assert len(answer) / 16_000 == pytest.approx(done["usage"]["audio_out_s"], abs=0.1)
    understood = heard_by(listener, answer)
    assert match(done["text"], understood) >= INTELLIGIBLE, (done["text"], understood)


async def test_a_calculation_asked_for_in_writing_is_answered_aloud_with_the_right_number(
    embedded: RealServer, listener: WhisperModel
) -> None:
    async with begun(embedded, binary=True) as client:
        await client.say("chat.start", prompt="What is seventeen times three?")
        done = await client.until("chat.complete", within_s=30)
    assert match("fifty one", done["text"]) == 1
    assert match("fifty one", heard_by(listener, decoded(client.payloads, PCM24))) == 1


async def test_a_conversation_goes_on_over_several_spoken_turns(embedded: RealServer) -> None:
    names = ("goforward", "librivox_0930", "cards_003")
    async with begun(embedded, binary=True) as client:
        for name in names:
            await client.send_audio(encoded(said(name), PCM16))
            await client.until("chat.complete", within_s=40)
    texts = [turn["text"] for turn in client.of("turn.started")]
    assert [match(transcript(name), text) >= UNDERSTOOD for name, text in zip(names, texts, strict=True)] == [True] * 3
    assert len({done["request_id"] for done in client.of("chat.complete")}) == len(names)


# --- the command line ---


def talk(server_url: str, recording: Path, saved: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    done = run_program("talk", str(recording), "--json", "--url", server_url, "--save", str(saved), *more)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_talk_prints_what_was_said_and_answered_and_saves_the_answer(
    embedded: RealServer, listener: WhisperModel, tmp_path: Path
) -> None:
    saved = tmp_path / "answer.wav"
    code, document, errors = talk(embedded.url, SPEECH / "goforward.wav", saved)
    assert (code, errors) == (0, "")
    (turn,) = document["turns"]
    assert document["answered"] is True
    assert match("go forward ten meters", turn["you"]) == 1
    assert {stage["stage"] for stage in turn["latency"]} == {"endpoint", "stt", "agent", "tts", "egress", "total"}
    assert turn["usage"]["audio_out_s"] > 0.5
    with wave.open(str(saved)) as file:
        assert file.getframerate() == 24_000
        answer = file.readframes(file.getnframes())
    assert match(turn["agent"], heard_by(listener, decoded([answer], PCM24))) >= INTELLIGIBLE


def test_talk_fails_where_nothing_was_said(embedded: RealServer, tmp_path: Path) -> None:
    recording = tmp_path / "silence.wav"
    with wave.open(str(recording), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(quiet(1.0).tobytes())
    code, document, _ = talk(embedded.url, recording, tmp_path / "answer.wav", "--timeout", "3")
    assert code == 1
    assert (document["answered"], document["turns"], document["saved"]) == (False, [], None)
    assert not (tmp_path / "answer.wav").exists()


def test_talk_fails_where_nobody_answers(tmp_path: Path) -> None:
    code, document, errors = talk("http://127.0.0.1:9", SPEECH / "goforward.wav", tmp_path / "answer.wav")
    assert code == 1
    assert document["answered"] is False
    assert "http://127.0.0.1:9 cannot be talked to" in document["error"]
    assert errors == ""


def test_talk_fails_on_a_file_that_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no wave at all")
    code, document, errors = talk("http://127.0.0.1:9", tmp_path / "noise.wav", tmp_path / "answer.wav")
    assert code == 1
    assert "cannot be played" in document["error"]
    assert errors == ""
