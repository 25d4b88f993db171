"""A realtime codec in conversation: a client's messages in, server events in, and every message out held to the SDK."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from contract.openai_realtime_models import validate

from agents.events import (
    AudioOutEnded,
    ClientToolCalled,
    ProtocolReply,
    ReplyText,
    ServerEvent,
    SessionStarted,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnCompleted,
    TurnEnd,
    TurnStarted,
    TurnUsage,
)
from server.wire.realtime.acts import Act, Respond, Tell
from server.wire.realtime.codec import RealtimeCodec
from server.wire.realtime.dialect import GA, Dialect, SessionConfig
from server.wire.realtime.ga_config import GaConfig
from server.wire.realtime.state import RealtimeState
from server.wire.values import EncodedAudio

SESSION_ID = "sess_0123456789abcdef0123456789abcdef"
Message = dict[str, Any]
TRANSCRIBED = {"input": {"transcription": {"model": "whisper-1"}}}
TOOL = {"type": "function", "name": "lookup", "description": "Look up.", "parameters": {"type": "object"}}


class Unlimited:
    """Counts nothing, tells something plausible."""

    def spend(self) -> list[dict[str, Any]]:
        return [{"name": "requests", "limit": 10, "remaining": 9, "reset_seconds": 60.0}]


class RealtimeTalk:
    """One session's codec. ``said`` is everything the client was told, oldest first."""

    def __init__(
        self,
        *,
        media: bool = False,
        transcription: bool = False,
        extras: tuple[str, ...] = (),
        dialect: Dialect = GA,
        config: SessionConfig | None = None,
        check: Callable[[Message], None] = validate,
    ) -> None:
        ids = itertools.count(1)
        config = config or GaConfig.opened("gpt-realtime", SESSION_ID, 1_800_000_000, transcription=transcription)
        state = RealtimeState(SESSION_ID, config, dialect, lambda prefix: f"{prefix}_{next(ids):024d}", media=media)
        self.codec = RealtimeCodec(state, Unlimited(), extras=frozenset(extras))
        self.said: list[Message] = []
        self.acts: list[Act] = []
        self._check = check
        self._utterances = itertools.count(1)
        self._clock_ms = 0

    # --- the client ---

    def send(self, kind: str, **fields: Any) -> list[Act]:
        """One client message. What the codec answers at once is heard, the other acts are returned."""
        return self.send_text(json.dumps({"type": kind, **fields}))

    def send_text(self, frame: str) -> list[Act]:
        acts = self.codec.feed(frame)
        for act in acts:
            if isinstance(act, Tell):
                self.hear(ProtocolReply(act.body))
        rest = [act for act in acts if not isinstance(act, Tell)]
        self.acts += rest
        return rest

    def update(self, **session: Any) -> list[Act]:
        return self.send("session.update", session={"type": "realtime", **session})

    def respond(self, **response: Any) -> Respond:
        """Ask for a response; the act it became."""
        [act] = self.send("response.create", response=response)
        assert isinstance(act, Respond)
        return act

    # --- the conversation ---

    def hear(self, *events: ServerEvent) -> list[Message]:
        """What the client is told of these events."""
        told: list[Message] = []
        for event in events:
            told += [json.loads(frame) for frame in self.codec.encode(event)]
        return self._note(told)

    def hear_audio(self, turn_id: str, start_ms: int = 0, audio_ms: int = 100) -> list[Message]:
        samples = np.arange(audio_ms * 24, dtype=np.int16)
        frames = self.codec.encode_audio(EncodedAudio(turn_id, samples.tobytes(), start_ms, audio_ms))
        return self._note([json.loads(frame) for frame in frames])

    def start(self) -> RealtimeTalk:
        self.hear(SessionStarted(SESSION_ID, "default", {}))
        return self

    def user_says(self, text: str, turn_id: str | None = "turn_1") -> int:
        """Speech that became part of the conversation, answered by ``turn_id``. Returns the utterance."""
        utterance, start = next(self._utterances), self._clock_ms
        self._clock_ms += 2_000
        self.hear(
            SpeechStartedHeard(utterance, start + 100),
            SpeechStoppedHeard(utterance, start + 1_500),
            TranscriptUpdated(utterance, text, True, start + 100, start + 1_500, turn_id),
        )
        if turn_id is not None:
            self.hear(TurnStarted(turn_id, text, "speech"))
        return utterance

    def agent_says(self, text: str, turn_id: str = "turn_1", end: TurnEnd = "finished", *, audio: bool = True) -> None:
        """A whole reply."""
        self.hear(ReplyText(turn_id, text))
        if audio:
            self.hear_audio(turn_id)
            self.hear(AudioOutEnded(turn_id, 100))
        self.complete(turn_id, text, end)

    def agent_calls(self, name: str = "lookup", arguments: str = '{"word": "cat"}', turn_id: str = "turn_1") -> None:
        self.hear(ClientToolCalled(turn_id, "call_1", name, arguments))

    def complete(self, turn_id: str = "turn_1", text: str = "", end: TurnEnd = "finished") -> list[Message]:
        interrupted = end in {"interrupted", "cancelled"}
        code = "provider.timeout" if end == "failed" else None
        usage = TurnUsage(10, 5, 0, 2_000, 1_000, 4)
        return self.hear(TurnCompleted(turn_id, text, interrupted, usage, code, end))

    # --- what was told ---

    def kinds(self) -> list[str]:
        """The types of everything told, in order."""
        return [message["type"] for message in self.said]

    def all(self, kind: str) -> list[Message]:
        return [message for message in self.said if message["type"] == kind]

    def one(self, kind: str) -> Message:
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} {kind} in {self.kinds()}"
        return found[0]

    def error(self) -> dict[str, Any]:
        """The last error told."""
        return self.all("error")[-1]["error"]

    def _note(self, told: list[Message]) -> list[Message]:
        for message in told:
            if not message["type"].startswith("convergio."):
                self._check(message)
        self.said += told
        return told


def started(**how: Any) -> RealtimeTalk:
    """A session that has been greeted."""
    return RealtimeTalk(**how).start()


def speaking(**how: Any) -> RealtimeTalk:
    """A session whose agent is in the middle of an answer."""
    talk = started(**how)
    talk.user_says("Tell me a story.")
    talk.hear(ReplyText("turn_1", "Once upon a time."))
    if how.get("media"):
        talk.codec.begin_audio("turn_1")
    else:
        talk.hear_audio("turn_1")
    return talk
