"""Runs a client program against the server and says whether the conversation it reports was a whole one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clients import chat_endpoint
from e2e.real_server import ROOT
from e2e.spoken import clip, match, transcript

from audio.codecs.factory import make_decoder, make_encoder
from audio.formats import HEARING_RATE_HZ, AudioFormat, Encoding, Samples
from audio.stt.whisper_model import WhisperModel

HERE = Path(__file__).parent
ROOM = ROOT / ".venv-clients"
KEY = "a-secret-of-a-test-0123456789"
CLIPS = {"errand": "goforward", "question": "arctic_a0007", "interruption": "librivox_0930"}
AT_ONCE = 3
"""Conversations that are held at the same time: each is mostly waiting for speech to be over."""
PCM24 = AudioFormat(Encoding.PCM16, 24_000)
LIMIT_S = 110.0
UNDERSTOOD = 0.6
INTELLIGIBLE = 0.75


def missing(environment: str) -> str | None:
    """Why a client's environment is not there; None where it is."""
    if (ROOM / f"{environment}.made").is_file():
        return None
    told = ROOM / f"{environment}.missing"
    reason = told.read_text().strip() if told.is_file() else "scripts/client_envs.sh has not been run"
    return f"the {environment} clients are not installed: {reason}"


@dataclass(frozen=True)
class Client:
    """A client program: its name, its variant, the environment it lives in ("" for ours), whether it wants TLS."""

    program: str
    variant: str = ""
    environment: str = ""
    secure: bool = False

    def __str__(self) -> str:
        return " ".join(part for part in (self.program, self.variant) if part)

    def missing(self) -> str | None:
        return missing(self.environment) if self.environment else None

    def command(self, url: str, clips: Path, output: Path) -> list[str]:
        """What runs it, to be waited for."""
        given = ["--url", url, "--key", KEY, "--clips", str(clips), "--output", str(output)]
        given += ["--variant", self.variant] if self.variant else []
        if self.environment == "node":
            return [(ROOM / "node.path").read_text().strip(), str(HERE / "node" / f"{self.program}.mjs"), *given]
        python = str(ROOM / self.environment / "bin" / "python") if self.environment else sys.executable
        return [python, str(HERE / f"{self.program}.py"), *given]


def write_clips(directory: Path) -> Path:
    """The recordings of the conversation, as 24 kHz WAV files with the room's noise around them."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, recording in CLIPS.items():
        encoder = make_encoder(PCM24, HEARING_RATE_HZ)
        payloads = [*encoder.encode(clip(recording)), *encoder.flush()]
        with wave.open(str(directory / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 24_000, 0, "NONE", None))
            file.writeframes(b"".join(payloads))
    return directory


def run(command: Sequence[str], trusted: Path) -> dict[str, Any]:
    """A client program to its end; the report it prints. ``trusted`` are certificates for Node."""
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(trusted)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, f"no report (exit code {done.returncode}):\n{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
    report = json.loads(lines[-1])
    report["stderr"] = done.stderr[-4_000:]
    return report


@dataclass(frozen=True)
class Listener:
    """Who listens to what the clients were given to hear."""

    model: WhisperModel

    def heard(self, path: str | Path) -> str:
        with wave.open(str(path)) as file:
            rate_hz, payload = file.getframerate(), file.readframes(file.getnframes())
        decoder = make_decoder(AudioFormat(Encoding.PCM16, rate_hz), HEARING_RATE_HZ)
        return self.understood(decoder.decode(payload))

    def understood(self, samples: Samples) -> str:
        return self.model.decode(samples, self.model.prompt("en")).text


def loudness(path: str | Path) -> float:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def check_whole_conversation(
    report: dict[str, Any], listener: Listener, *, greeted: bool = False, truncated_by_client: bool = True
) -> None:
    """Every step of ``dialogue``, as the client saw it. ``greeted``: the agent had spoken first."""
    told = json.dumps({**report, "answers": [answer["text"] for answer in report["answers"]]}, indent=1)
    assert report["exception"] == "", told
    assert report["errors"] == [], told
    assert report["finished"], told
    names = [CLIPS["errand"], CLIPS["question"], CLIPS["interruption"]]
    assert len(report["heard"]) == len(names), told
    for name, text in zip(names, report["heard"], strict=True):
        assert match(transcript(name), text) >= UNDERSTOOD, (transcript(name), told)
    assert report["call"]["name"] == chat_endpoint.FUNCTION_NAME, told
    assert json.loads(report["call"]["arguments"]) == chat_endpoint.FUNCTION_ARGUMENTS, told
    assert report["cancelled"]["reason"] == "turn_detected", told
    assert not truncated_by_client or report["truncated"]["mine"], told
    check_usage(report["usages"], told)
    answers = report["answers"][1:] if greeted else report["answers"]
    errand, question, last = answers
    assert report["truncated"].get("audio_end_ms", 0) <= question["audio_ms"], told
    said = chat_endpoint.FUNCTION_ANSWER.format("the kitchen window"), chat_endpoint.SHORT_ANSWER
    for answer, expected in zip((errand, last), said, strict=True):
        assert answer["status"] == "completed", told
        assert match(expected, answer["text"]) == 1, told
        check_speech(answer, expected, listener)
    assert question["status"] == "cancelled", told
    assert chat_endpoint.LONG_ANSWER.startswith(question["text"].strip()[:40]), told


def check_events(report: dict[str, Any], validate: Callable[[dict[str, Any]], None]) -> None:
    """Every event the client was sent is exactly what its SDK declares."""
    events = [json.loads(line) for line in Path(report["events"]).read_text().splitlines()]
    assert {event["type"] for event in events} == set(report["counts"])
    wrong: dict[str, str] = {}
    for event in events:
        try:
            validate(event)
        except AssertionError as error:
            wrong.setdefault(event["type"], str(error))
    assert not wrong, "\n".join(wrong.values())


def check_speech(answer: dict[str, Any], text: str, listener: Listener) -> None:
    """The audio says what its transcript says."""
    assert loudness(answer["file"]) > 300, answer
    understood = listener.heard(answer["file"])
    assert match(text, understood) >= INTELLIGIBLE, (text, understood)


def check_usage(usages: list[dict[str, Any]], told: str) -> None:
    assert usages, told
    for usage in usages:
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], told
    assert any(usage["output_tokens"] > 0 for usage in usages), told
