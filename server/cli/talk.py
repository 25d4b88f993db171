"""``convergio-voice talk``: hold one conversation from a terminal and say how it went.

Uses the server that answers at ``--url``, or starts one in this process. Shows the transcript and the answer as they
come, then where the milliseconds went; saves the answer's audio. Exit code 0 only if an answer came. With ``--json``
there is one document on stdout whatever happens; ``error`` says why no answer came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from server.cli.talk_view import TalkView
    from server.cli.voice_client import Conversation, TalkError, TalkRequest, Turn

DEFAULT_URL: Final = "http://127.0.0.1:8080"
PROBE_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """What was asked for on the command line."""

    recording: Path | None
    mic: bool
    text: str | None
    url: str | None
    api_key: str | None
    save: Path
    as_json: bool
    limit_s: float


@click.command("talk")
@click.argument("recording", type=click.Path(path_type=Path), required=False)
@click.option("--mic", is_flag=True, help="Speak into the microphone, until the answer is over or Ctrl-C.")
@click.option("--text", help="Type instead of speaking.")
@click.option("--url", help=f"The server to talk to. Default: {DEFAULT_URL} if one answers there, else one of its own.")
@click.option("--api-key", help="The server's API key, where it wants one. Default: the first of the settings.")
@click.option("--save", type=click.Path(path_type=Path), default=Path("answer.wav"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.option(
    "--timeout", "limit_s", type=float, default=60.0, show_default=True, help="Seconds to wait for the answer."
)
def command(**given: Any) -> int:
    """Talk to an agent.

    RECORDING is a WAV file, played to the agent as if you were speaking.
    """
    options = TalkOptions(**given)
    try:
        return _run(options)
    except Exception as error:
        if not options.as_json:
            raise
        from server.cli.console import print_json  # noqa: PLC0415
        from server.cli.main import sentences  # noqa: PLC0415

        print_json({"answered": False, "error": " ".join(sentences(error))})
        return 1


def _run(options: TalkOptions) -> int:
    if sum((options.recording is not None, options.mic, options.text is not None)) != 1:
        raise click.UsageError("Say something: a recording (WAV), --mic, or --text.")
    from server.settings import load_settings, prepare_process_environment  # noqa: PLC0415 - commands import late

    prepare_process_environment()
    settings = load_settings()
    if options.api_key is None and settings.keys:
        options = replace(options, api_key=settings.keys[0][1].get_secret_value())
    return asyncio.run(_talk(options))


async def _talk(options: TalkOptions) -> int:
    from server.cli.console import console  # noqa: PLC0415
    from server.cli.talk_view import TalkView  # noqa: PLC0415
    from server.cli.voice_client import Conversation  # noqa: PLC0415

    request_of = _request_maker(options)
    _check_writable(options.save)
    view = TalkView(console(err=options.as_json))
    try:
        async with _server(options, view) as url:
            view.progress("connecting")
            conversation = Conversation(request_of(url), None if options.as_json else view.on_message)
            await conversation.hold()
    finally:
        view.progress(None)
    return _report(options, view, conversation)


def _request_maker(options: TalkOptions) -> Callable[[str], TalkRequest]:
    """Reads the recording before anything is started, so a wrong file is told at once."""
    from server.cli.sources import load_recording, microphone, play  # noqa: PLC0415
    from server.cli.voice_client import TalkRequest  # noqa: PLC0415

    request = TalkRequest("", audio=None, api_key=options.api_key, answer_limit_s=options.limit_s)
    if options.recording is not None:
        samples, rate_hz = load_recording(options.recording)
        request = replace(request, audio=lambda: play(samples, rate_hz), sample_rate_hz=rate_hz)
    elif options.mic:
        request = replace(request, audio=microphone)
    else:
        request = replace(request, text=options.text)
    return lambda url: replace(request, url=url)


@asynccontextmanager
async def _server(options: TalkOptions, view: TalkView) -> AsyncGenerator[str]:
    """A server to talk to: the one named, the one that answers already, or one of our own."""
    url = options.url or (DEFAULT_URL if await _answers(DEFAULT_URL) else None)
    if url is not None:
        yield url
        return
    view.progress("loading the engines")
    from server.cli.local_server import local_server  # noqa: PLC0415

    async with local_server(view.progress) as local_url:
        yield local_url


async def _answers(url: str) -> bool:
    import httpx  # noqa: PLC0415

    try:
        async with httpx.AsyncClient(timeout=PROBE_LIMIT_S, trust_env=False) as client:
            answer = await client.get(f"{url}/healthz")
            return answer.is_success and "version" in answer.json()
    except (httpx.HTTPError, ValueError):
        return False


def _report(options: TalkOptions, view: TalkView, conversation: Conversation) -> int:
    answers = conversation.answers()
    saved = _save(options.save, answers)
    answered = any(turn.answered for turn in answers)
    if options.as_json:
        from server.cli.console import print_json  # noqa: PLC0415

        print_json(_document(conversation, saved, answered=answered))
    else:
        for turn in answers:
            view.waterfall(turn)
        if saved is not None:
            view.saved(*saved)
    if not answered and not options.as_json:
        raise click.ClickException(_why_not(conversation))
    return 0 if answered else 1


def _check_writable(path: Path) -> None:
    """Raises TalkError where the answer could not be saved: better known before the conversation than after it."""
    try:
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise _unsaved(path, error) from error


def _unsaved(path: Path, error: OSError) -> TalkError:
    from server.cli.voice_client import TalkError  # noqa: PLC0415

    return TalkError(f"The answer cannot be saved to {path}: {error.strerror or error}; choose another with --save.")


def _save(path: Path, answers: list[Turn]) -> tuple[Path, int] | None:
    import numpy as np  # noqa: PLC0415

    from audio.wav import write_wav  # noqa: PLC0415
    from server.cli.voice_client import OUTPUT_RATE_HZ  # noqa: PLC0415

    stretches = [turn.samples() for turn in answers]
    if not any(len(samples) for samples in stretches):
        return None
    samples = np.concatenate(stretches)
    try:
        write_wav(path, samples, OUTPUT_RATE_HZ)
    except OSError as error:
        raise _unsaved(path, error) from error
    return path, len(samples)


def _document(conversation: Conversation, saved: tuple[Path, int] | None, *, answered: bool) -> dict[str, Any]:
    return {
        "answered": answered,
        "error": None if answered else _why_not(conversation),
        "session_id": conversation.session.get("session_id"),
        "engines": conversation.session.get("capabilities", {}),
        "turns": [
            {
                "request_id": turn.turn_id,
                "you": turn.said,
                "agent": turn.answer,
                "interrupted": turn.interrupted,
                "error_code": turn.error_code,
                "first_audio_ms": None if turn.first_audio_ms is None else round(turn.first_audio_ms, 1),
                "latency": turn.latency,
                "usage": turn.usage,
            }
            for turn in conversation.answers()
        ],
        "errors": [{"code": error["code"], "message": error["message"]} for error in conversation.errors],
        "saved": None if saved is None else str(saved[0]),
    }


def _why_not(conversation: Conversation) -> str:
    if conversation.errors:
        return f"No answer came: {conversation.errors[-1]['message']}"
    if conversation.answers():
        return "No whole answer came in time."
    return "No answer came: nothing was understood as speech. Is the recording loud enough?"
