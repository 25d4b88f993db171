#!/usr/bin/env python3
"""A whole conversation on a real Azure Speech account: Azure speaks a question, this server hears and answers it aloud.

    CONVERGIO_AZURE__REGION=westeurope CONVERGIO_AZURE__KEY=... make smoke-azure

Reads the settings as the server does (environment, convergio.toml), with Azure hearing and speaking and nobody standing
in; the model is the settings' too (Azure OpenAI, another endpoint, or the embedded one). The question goes through the
voice socket of a real server at the pace of speech. What was understood, what was answered, and whether the answer is
heard (Azure recognises it again) are checked, and the figures printed. Exit code 0 where all of it worked, or where
there is no account; 1 otherwise. Costs a few seconds of each service.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from audio.azure.room import ConnectionRoom
from audio.codecs.resample import StreamResampler
from audio.errors import EngineError
from audio.formats import HEARING_RATE_HZ, Samples
from server.app import Application
from server.azure_engines import AzureSpeech
from server.cli.azure_round_trip import locale_of, recognise, speak, words
from server.cli.sources import play
from server.cli.voice_client import OUTPUT_RATE_HZ, Conversation, TalkError, TalkRequest, Turn
from server.listening import CannotListen, listen
from server.observability.logs import configure_logging
from server.serving import running
from server.settings import Settings, SettingsError, load_settings, prepare_process_environment

QUESTION = "What time is it in Tokyo?"
QUESTION_WORDS = 0.6
ANSWER_LETTERS = 0.5
"""Of the answer's letters and figures: a time of day is put into words, and parted, in many ways."""
AUDIBLE_RMS = 100.0
READY_LIMIT_S = 120.0
WHOLE_LIMIT_S = 240.0
SILENCE_S = 0.3


class Failed(Exception):
    """The smoke test found something wrong; the message is a sentence."""


def main() -> int:
    """Run it; the exit code."""
    prepare_process_environment()
    try:
        configured = load_settings()
        if not configured.azure.usable:
            print(
                "smoke-azure: skipped, for there is no Azure Speech account: set CONVERGIO_AZURE__REGION and "
                "CONVERGIO_AZURE__KEY (docs/guides/engines.md)."
            )
            return 0
        with tempfile.TemporaryDirectory() as directory:
            settings = load_settings(
                host="127.0.0.1",
                port=0,
                data_dir=Path(directory),
                stt={"engine": "azure", "fallback": "none"},
                tts={"engine": "azure", "fallback": "none"},
                engine_rules=(),
                log={"level": "error"},
            )
            configure_logging(settings.log)
            asyncio.run(_limited(settings))
    except SettingsError as error:
        return _wrong(" ".join(error.problems))
    except (Failed, TalkError, EngineError, CannotListen, TimeoutError) as error:
        return _wrong(str(error) or f"not done within {WHOLE_LIMIT_S:g} s")
    print("smoke-azure: all of it works.")
    return 0


def _wrong(why: str) -> int:
    print(f"smoke-azure: failed: {why} (convergio-voice doctor says more)", file=sys.stderr)
    return 1


async def _limited(settings: Settings) -> None:
    with anyio.fail_after(WHOLE_LIMIT_S):
        await _smoke(settings)


async def _smoke(settings: Settings) -> None:
    locale = locale_of(settings.azure)
    async with AzureSpeech(settings.azure, ConnectionRoom(16), 2) as speech:
        tts, stt = await speech.text_to_speech(), await speech.speech_to_text()
        try:
            await tts.warm_up()
            question = await speak(tts, QUESTION, locale)
            print(
                f"question: {QUESTION!r}, {_seconds(question.samples):.1f} s, first audio {question.first_audio_ms} ms"
            )
            turn, session = await _conversation(settings, question.samples)
            _check(turn, session)
            answer = _at_hearing_rate(turn.samples())
            heard, final_ms = await recognise(stt, answer, turn.answer, locale)
        finally:
            await tts.aclose()
            await stt.aclose()
    print(f"heard:    {heard!r}, text {final_ms} ms after the last word")
    if _likeness(turn.answer, heard) < ANSWER_LETTERS:
        raise Failed(f"the answer {turn.answer!r} was heard as {heard!r}")


async def _conversation(settings: Settings, question: Samples) -> tuple[Turn, dict[str, Any]]:
    application = Application(settings)
    async with running(application, listen(settings.host, settings.port)) as server:
        with anyio.fail_after(READY_LIMIT_S):
            await application.wait_ready()
        for report in application.reports():
            print(f"  {report.stage:9}{report.words}{'' if report.reason is None else f': {report.reason}'}")
            if report.stage in ("stt", "tts") and report.status != "ready":
                raise Failed(f"{report.stage} is {report.status}: {report.reason}")
        pause = np.zeros(round(SILENCE_S * HEARING_RATE_HZ), np.int16)
        said = np.concatenate([pause, question])
        key = settings.keys[0][1].get_secret_value() if settings.keys else None
        request = TalkRequest(server.url, lambda: play(said, HEARING_RATE_HZ), HEARING_RATE_HZ, api_key=key)
        conversation = Conversation(request, None)
        await conversation.hold()
        await application.drain()
    answered = [turn for turn in conversation.answers() if turn.source == "speech"]
    if not answered:
        raise Failed(f"nothing was understood (errors: {[error['message'] for error in conversation.errors]})")
    return answered[-1], conversation.session


def _check(turn: Turn, session: dict[str, Any]) -> None:
    print(f"heard by: {session.get('capabilities', {}).get('stt')}, spoken by: {session['capabilities'].get('tts')}")
    print(f"question: understood as {turn.said!r}")
    print(f"answer:   {turn.answer!r}, {len(turn.samples()) / OUTPUT_RATE_HZ:.1f} s of audio")
    for stage in turn.latency:
        print(f"  {stage['stage']:9}{stage['duration_ms']:7.0f} ms  {stage.get('provider') or ''}")
    if turn.first_audio_ms is not None:
        print(f"  last word to first audio, at the client: {turn.first_audio_ms:.0f} ms")
    print(f"usage:    {turn.usage}")
    if _share(QUESTION, turn.said) < QUESTION_WORDS:
        raise Failed(f"the question was understood as {turn.said!r}")
    if not turn.answered:
        raise Failed(f"no answer came ({turn.error_code or 'empty'})")
    loudness = float(np.sqrt(np.mean(turn.samples().astype(np.float64) ** 2))) if len(turn.samples()) else 0.0
    if loudness < AUDIBLE_RMS:
        raise Failed("the answer is not to be heard")


def _share(wanted: str, got: str) -> float:
    """The share of the wanted words that came."""
    expected, found = set(words(wanted)), set(words(got))
    return len(expected & found) / len(expected) if expected else 1.0


def _likeness(wanted: str, got: str) -> float:
    """How alike the letters and figures are in their order, from 0 to 1, whatever stands between them."""
    expected, found = ("".join(words(text)) for text in (wanted, got))
    return SequenceMatcher(None, expected, found, autojunk=False).ratio()


def _at_hearing_rate(samples: Samples) -> Samples:
    resample = StreamResampler(OUTPUT_RATE_HZ, HEARING_RATE_HZ)
    return np.concatenate([resample.process(samples), resample.flush()])


def _seconds(samples: Samples) -> float:
    return len(samples) / HEARING_RATE_HZ


if __name__ == "__main__":
    sys.exit(main())
