"""The conversation every client has with the server, as a state machine without I/O: events in, things to do out.

    errand        speak; the agent calls our function; we answer it; it says what came of it
    question      speak; a long answer begins
    interruption  speak over it; the response is cancelled, we cut the item to what was played
    second turn   what was said over the answer is answered

Knows neither sockets nor SDKs: a client program feeds it the events its SDK hands out, as dictionaries, and does with
its SDK what comes back. Voice Live's names of events are understood as OpenAI's. Standard library only: it runs in
every client's own environment.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

SAMPLE_RATE_HZ = 24_000
BYTES_PER_MS = SAMPLE_RATE_HZ * 2 // 1_000
HEARD_BEFORE_INTERRUPTING_MS = 1_500
PAUSE_S = 0.5
"""Before our words: the room alone, as a microphone brings it."""

INSTRUCTIONS = "You steer a small robot. Say where it is when it has moved."
FUNCTION: dict[str, Any] = {
    "type": "function",
    "name": "move_robot",
    "description": "Moves the robot.",
    "parameters": {
        "type": "object",
        "properties": {"direction": {"type": "string"}, "meters": {"type": "number"}},
        "required": ["direction", "meters"],
    },
}
FUNCTION_OUTPUT = json.dumps({"place": "the kitchen window"})
_VOICE_LIVE_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
}
Clip = Literal["errand", "question", "interruption"]


@dataclass(frozen=True)
class Configure:
    """Send the session's settings."""


@dataclass(frozen=True)
class Speak:
    """Say a recording, after a pause that leaves the agent's audio its time to play."""

    clip: Clip
    after_s: float = 0.0


@dataclass(frozen=True)
class Truncate:
    """Cut an item to what was played."""

    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True)
class AnswerCall:
    """Give the function's output, then ask for a response."""

    call_id: str
    output: str


@dataclass(frozen=True)
class Leave:
    """The conversation is over."""


Action = Configure | Speak | Truncate | AnswerCall | Leave


@dataclass
class Answer:
    """One response with something to hear."""

    response_id: str
    item_id: str = ""
    content_index: int = 0
    began_s: float = 0.0
    audio: bytearray = field(default_factory=bytearray)
    text: str = ""
    status: str = ""
    reason: str = ""

    @property
    def audio_ms(self) -> int:
        return len(self.audio) // BYTES_PER_MS

    def played_ms(self, now_s: float) -> int:
        """What a loudspeaker has played of it."""
        return min(self.audio_ms, round((now_s - self.began_s) * 1_000))

    def rest_s(self, now_s: float) -> float:
        """How long a loudspeaker still needs."""
        return max(0.0, (self.audio_ms - self.played_ms(now_s)) / 1_000)


@dataclass
class Report:
    """What a client saw; ``as_json`` is what a program prints."""

    client: str
    finished: bool = False
    step: str = "connecting"
    heard: list[str] = field(default_factory=list)
    call: dict[str, str] = field(default_factory=dict)
    cancelled: dict[str, str] = field(default_factory=dict)
    truncated: dict[str, Any] = field(default_factory=dict)
    usages: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    exception: str = ""
    session: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    """What one client has to tell besides."""
    counts: Counter[str] = field(default_factory=Counter)
    answers: list[dict[str, Any]] = field(default_factory=list)
    events: str = ""
    """The file with what came, as JSON Lines."""

    def as_json(self) -> str:
        return json.dumps(vars(self))


class Dialogue:
    """One client's conversation. ``feed`` with each event and the time; do what it returns.

    ``handled`` is what the client does by itself, so that it is not asked for: ``call`` and ``truncate``. ``greeted``:
    it lets the agent speak first.
    """

    def __init__(self, client: str, handled: Collection[str] = (), *, greeted: bool = False) -> None:
        self.report = Report(client)
        self._handled, self._greeted = frozenset(handled), greeted
        self.answers: dict[str, Answer] = {}
        self.events: list[dict[str, Any]] = []
        """What came, of audio only the first stretch."""
        self._interrupted: Answer | None = None

    def feed(self, event: dict[str, Any], now_s: float) -> list[Action]:
        kind = _VOICE_LIVE_NAMES.get(event["type"], event["type"])
        self.report.counts[event["type"]] += 1
        if self.report.counts[event["type"]] == 1 or not kind.endswith("audio.delta"):
            self.events.append(event)
        handler = getattr(self, "_on_" + kind.replace(".", "_"), None)
        return handler(event, now_s) if handler else []

    def spoken(self) -> list[Answer]:
        """The answers that could be heard, in order."""
        return [answer for answer in self.answers.values() if answer.audio]

    def _on_session_created(self, event: dict[str, Any], now_s: float) -> list[Action]:
        self.report.step = "configuring"
        return [Configure()]

    def _on_session_updated(self, event: dict[str, Any], now_s: float) -> list[Action]:
        if self.report.step != "configuring":
            return []
        self.report.session = event["session"]
        if self._greeted:
            self.report.step = "greeting"
            return []
        self.report.step = "errand"
        return [Speak("errand", PAUSE_S)]

    def _on_conversation_item_input_audio_transcription_completed(
        self, event: dict[str, Any], now_s: float
    ) -> list[Action]:
        self.report.heard.append(event["transcript"])
        return []

    def _on_response_created(self, event: dict[str, Any], now_s: float) -> list[Action]:
        identity = event["response"]["id"]
        self.answers[identity] = Answer(identity)
        return []

    def _on_response_output_audio_transcript_delta(self, event: dict[str, Any], now_s: float) -> list[Action]:
        self.answers[event["response_id"]].text += event["delta"]
        return []

    def _on_response_output_audio_delta(self, event: dict[str, Any], now_s: float) -> list[Action]:
        answer = self.answers[event["response_id"]]
        if not answer.audio:
            answer.item_id, answer.content_index, answer.began_s = event["item_id"], event["content_index"], now_s
        delta = event["delta"]
        answer.audio += delta if isinstance(delta, bytes) else base64.b64decode(delta)
        if self.report.step != "question" or answer.audio_ms < HEARD_BEFORE_INTERRUPTING_MS:
            return []
        self.report.step = "interruption"
        self._interrupted = answer
        return [Speak("interruption", max(0.0, HEARD_BEFORE_INTERRUPTING_MS / 1_000 - (now_s - answer.began_s)))]

    def _on_input_audio_buffer_speech_started(self, event: dict[str, Any], now_s: float) -> list[Action]:
        answer = self._interrupted
        if self.report.step != "interruption" or answer is None:
            return []
        self.report.step = "second turn"
        if "truncate" in self._handled:
            return []
        return [Truncate(answer.item_id, answer.content_index, answer.played_ms(now_s))]

    def _on_conversation_item_truncated(self, event: dict[str, Any], now_s: float) -> list[Action]:
        answer = self._interrupted
        mine = answer is not None and event["item_id"] == answer.item_id
        self.report.truncated = {"audio_end_ms": event["audio_end_ms"], "mine": mine}
        return []

    def _on_response_function_call_arguments_done(self, event: dict[str, Any], now_s: float) -> list[Action]:
        self.report.call = {"call_id": event["call_id"], "arguments": event["arguments"]}
        return []

    def _on_response_done(self, event: dict[str, Any], now_s: float) -> list[Action]:
        response = event["response"]
        answer = self.answers.setdefault(response["id"], Answer(response["id"]))
        answer.status = response["status"]
        answer.reason = (response.get("status_details") or {}).get("reason") or ""
        if response.get("usage"):
            self.report.usages.append(response["usage"])
        calls = [item for item in response.get("output") or [] if item["type"] == "function_call"]
        if answer.status == "cancelled":
            self.report.cancelled = {"reason": answer.reason, "response_id": answer.response_id}
            return []
        if calls:
            self.report.call |= {"name": calls[0]["name"]}
            return [] if "call" in self._handled else [AnswerCall(calls[0]["call_id"], FUNCTION_OUTPUT)]
        return self._after(answer, now_s) if answer.audio else []

    def _after(self, answer: Answer, now_s: float) -> list[Action]:
        """What follows an answer that came to its end."""
        if self.report.step in ("greeting", "errand"):
            self.report.step = "errand" if self.report.step == "greeting" else "question"
            return [Speak(self.report.step, answer.rest_s(now_s) + PAUSE_S)]
        if self.report.step == "second turn":
            self.report.step = "over"
            self.report.finished = True
            return [Leave()]
        return []

    def _on_error(self, event: dict[str, Any], now_s: float) -> list[Action]:
        self.report.errors.append(dict(event["error"]))
        return []
