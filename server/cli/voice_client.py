"""A client of the voice socket, for the terminal: audio (or text) in, the agent's words and voice out.

Speaks ``/v1/voice/ws`` as any client would, with binary audio. Collects what was said, what was heard and where the
milliseconds went; shows nothing itself (an ``Observer`` does). Driven by ``server.cli.talk``.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import anyio
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from audio.formats import Samples, samples_to_ms
from server.errors import EdgeError

CHUNK_MS: Final = 20
OUTPUT_RATE_HZ: Final = 24_000
CONNECT_LIMIT_S: Final = 20.0
START_LIMIT_S: Final = 60.0
SETTLE_S: Final = 1.5
"""How long nothing may happen after an answer before the conversation counts as over."""
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


class TalkError(EdgeError):
    """The conversation could not be held; the message is a sentence for the user."""


@dataclass(slots=True)
class Turn:
    """One exchange. ``latency`` are the server's stages, as they came.

    ``first_audio_ms`` was measured here: from the last spoken word, or from sending the written ones.
    """

    turn_id: str
    source: Literal["speech", "text", "announcement"]
    said: str
    answer: str = ""
    audio: list[Samples] = field(default_factory=list[Samples])
    latency: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    usage: dict[str, Any] = field(default_factory=dict[str, Any])
    first_audio_ms: float | None = None
    interrupted: bool = False
    error_code: str | None = None
    complete: bool = False

    @property
    def answered(self) -> bool:
        """Whether the user got an answer: whole, without an error."""
        return self.complete and bool(self.answer.strip()) and self.error_code is None

    def samples(self) -> Samples:
        """The agent's audio, as heard."""
        return np.concatenate(self.audio) if self.audio else np.empty(0, np.int16)

    def cut(self, at_ms: int) -> None:
        """Forget audio after ``at_ms``: it was dropped, or is sent again from there."""
        self.audio = [self.samples()[: at_ms * OUTPUT_RATE_HZ // 1_000]]


@dataclass(frozen=True, slots=True)
class TalkRequest:
    """What to say. ``audio`` yields mono samples in real time (a microphone, or a file played like one)."""

    url: str
    audio: Callable[[], AsyncIterator[Samples]] | None
    sample_rate_hz: int = 16_000
    text: str | None = None
    api_key: str | None = None
    answer_limit_s: float = 60.0


Observer = Callable[[dict[str, Any], "Conversation"], None]
"""Called with every message of the server, after it was taken in."""


class Conversation:
    """One connection's state: the turns so far, and where the client's own audio stands."""

    def __init__(self, request: TalkRequest, observer: Observer | None) -> None:
        self.turns: list[Turn] = []
        self.session: dict[str, Any] = {}
        self.errors: list[dict[str, Any]] = []
        self.user_speaks = False
        self._request = request
        self._observe = observer
        self._said_everything = False
        self._changed_at_s = time.monotonic()
        self._sent_samples = 0
        self._sent_at_s = time.monotonic()
        self._last_speech_ms: int | None = None
        self._asked_at_s: float | None = None
        self._started = anyio.Event()
        self._greeted = anyio.Event()

    async def hold(self) -> None:
        """Connect, say what there is to say, and listen until it was answered. Raises TalkError."""
        try:
            async with connect(
                socket_url(self._request.url),
                additional_headers=_headers(self._request.api_key),
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=CONNECT_LIMIT_S,
                proxy=None,
            ) as socket:
                await self._converse(socket)
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise TalkError(f"{self._request.url} cannot be talked to: {error}.") from error

    def answers(self) -> list[Turn]:
        """The turns the user asked for (not the agent's own announcements)."""
        return [turn for turn in self.turns if turn.source != "announcement"]

    # --- tasks ---

    async def _converse(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps(self._start_message()))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, socket, tasks.cancel_scope)
            with anyio.move_on_after(START_LIMIT_S):
                await self._greeted.wait()
            if not self._started.is_set():
                raise TalkError("The server did not begin the session in time.")
            if self._request.text is not None:
                self._asked_at_s = time.monotonic()
                await socket.send(json.dumps({"type": "chat.start", "prompt": self._request.text}))
                self._said_everything = True
            elif self._request.audio is not None:
                tasks.start_soon(self._speak, socket, self._request.audio)
            await self._until_answered()
            await socket.send(json.dumps({"type": "voice.stop"}))
            with anyio.move_on_after(SETTLE_S):
                await anyio.sleep_forever()
            tasks.cancel_scope.cancel()

    async def _speak(self, socket: ClientConnection, audio: Callable[[], AsyncIterator[Samples]]) -> None:
        try:
            async for samples in audio():
                await socket.send(samples.astype("<i2", copy=False).tobytes())
                self._sent_samples += len(samples)
                self._sent_at_s = time.monotonic()
            self._said_everything = True
            self._changed_at_s = time.monotonic()
            await self._stay_silent(socket)
        except ConnectionClosed:
            return

    async def _stay_silent(self, socket: ClientConnection) -> None:
        """A microphone goes on after the last word; the server needs the silence to hear that it was the last."""
        rate_hz = self._request.sample_rate_hz
        silence = bytes(2 * rate_hz * CHUNK_MS // 1_000)
        due_s = time.monotonic()
        while True:
            await socket.send(silence)
            self._sent_samples += len(silence) // 2
            self._sent_at_s = time.monotonic()
            due_s += CHUNK_MS / 1_000
            await anyio.sleep(max(0.0, due_s - time.monotonic()))

    async def _until_answered(self) -> None:
        """Return when everything was said, answered and quiet; or at the limit."""
        spoken_at_s: float | None = None
        while True:
            await anyio.sleep(CHUNK_MS / 1_000)
            now_s = time.monotonic()
            if not self._said_everything:
                continue
            spoken_at_s = spoken_at_s or now_s
            open_turns = any(not turn.complete for turn in self.turns)
            quiet = not open_turns and not self.user_speaks and now_s - self._changed_at_s > SETTLE_S
            if (quiet and self.answers()) or now_s - spoken_at_s > self._request.answer_limit_s:
                return

    async def _listen(self, socket: ClientConnection, scope: anyio.CancelScope) -> None:
        try:
            async for frame in socket:
                if isinstance(frame, bytes):
                    self._on_audio(frame)
                else:
                    message: dict[str, Any] = json.loads(frame)
                    self._on_message(message)
                    if self._observe is not None:
                        self._observe(message, self)
        except ConnectionClosed:
            pass
        if not self._started.is_set():
            said = self.errors[-1]["message"] if self.errors else "The server ended the connection."
            raise TalkError(said)
        scope.cancel()

    # --- what the server says ---

    def _on_audio(self, frame: bytes) -> None:
        turn = self.turns[-1] if self.turns else None
        if turn is None:
            return
        if not turn.audio:
            turn.first_audio_ms = self._waited_ms(turn)
        turn.audio.append(np.frombuffer(frame, "<i2"))

    def _waited_ms(self, turn: Turn) -> float | None:
        """How long ago the user's last word of the turn was; None for what nobody asked for."""
        now_s = time.monotonic()
        if turn.source == "text" and self._asked_at_s is not None:
            return (now_s - self._asked_at_s) * 1_000
        if turn.source == "speech" and self._last_speech_ms is not None:
            sent_ms = samples_to_ms(self._sent_samples, self._request.sample_rate_hz)
            return (now_s - self._sent_at_s) * 1_000 + sent_ms - self._last_speech_ms
        return None

    def _on_message(self, message: dict[str, Any]) -> None:
        self._changed_at_s = time.monotonic()
        match message["type"]:
            case "session.started":
                self.session = message
                self._started.set()
                self._greeted.set()
            case "vad.speech_started":
                self.user_speaks = True
            case "vad.speech_stopped":
                self._last_speech_ms = message["at_ms"]
                self.user_speaks = False
            case "turn.started":
                self.user_speaks = False
                self.turns.append(Turn(message["request_id"], message["source"], message["text"]))
            case "error":
                self.errors.append(message)
            case kind:
                turn = next((turn for turn in self.turns if turn.turn_id == message["request_id"]), None)
                if turn is not None:
                    _on_turn_message(kind, message, turn)

    def _start_message(self) -> dict[str, Any]:
        return {
            "type": "voice.start",
            "codec": "pcm16",
            "sample_rate": self._request.sample_rate_hz,
            "binary": True,
            "output": {"codec": "pcm16", "sample_rate": OUTPUT_RATE_HZ},
        }


def _on_turn_message(kind: str, message: dict[str, Any], turn: Turn) -> None:
    match kind:
        case "chat.token":
            turn.answer += message["text"]
        case "voice.interrupted":
            turn.interrupted = True
            turn.cut(message["heard_ms"])
        case "voice.resumed":
            turn.interrupted = False
            turn.cut(message["from_ms"])
        case "turn.latency":
            turn.latency = message["stages"]
        case "chat.complete":
            turn.answer = message["text"] or turn.answer
            turn.usage = message["usage"]
            turn.interrupted = message["interrupted"]
            turn.error_code = message.get("error_code")
            turn.complete = True
        case _:
            pass


def socket_url(url: str) -> str:
    """The voice socket of the server at ``url``."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}/v1/voice/ws"


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
