"""The outbound half of the realtime codec: what happens in a conversation to a client's events.

I/O-free. Owns the order of events and when the client learns that the user speaks: over an answer that may yet go on,
only once it is certain, since clients drop what they are playing at that word. Driven by
``server.wire.realtime.codec``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from agents.core.item_ids import spoken_item_id
from agents.events import (
    AudioOutEnded,
    Caption,
    ClientToolCalled,
    Degraded,
    Failed,
    InputCommitted,
    InputFailed,
    Interrupted,
    LongSilence,
    ProtocolReply,
    RecordingTranscribed,
    ReplyText,
    ServerEvent,
    SessionStarted,
    SpeechDropped,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
    VisemesOut,
)
from server.wire.realtime.faults import RealtimeFault
from server.wire.realtime.items import described, user_audio_item
from server.wire.realtime.response import Event, Response
from server.wire.realtime.state import RealtimeState, error_json

MAX_UTTERANCES: Final = 64


class Allowance(Protocol):
    """How many responses a client may have: counted where there is a clock."""

    def spend(self) -> list[dict[str, Any]]:
        """One response begins. Returns the limits as ``rate_limits.updated`` tells them."""
        ...


class Outbound:
    """Tells one client what happens."""

    def __init__(self, state: RealtimeState, allowance: Allowance) -> None:
        self._state = state
        self._allowance = allowance
        self._held_start: SpeechStartedHeard | None = None
        self._told_starts: set[int] = set()
        self._committed: set[int] = set()
        self._unheard: set[int] = set()
        self._stopped_ms: dict[int, int] = {}
        self._playing: str | None = None
        self._handlers: dict[type[Any], Callable[[Any], list[Event]]] = {
            SessionStarted: self._session_started,
            SpeechStartedHeard: self._speech_started,
            SpeechStoppedHeard: self._speech_stopped,
            SpeechDropped: self._speech_dropped,
            InputCommitted: self._input_committed,
            InputFailed: self._input_failed,
            RecordingTranscribed: self._recording,
            LongSilence: self._long_silence,
            TranscriptUpdated: self._transcript,
            TurnStarted: self._turn_started,
            ReplyText: self._reply_text,
            Caption: self._caption,
            VisemesOut: self._visemes,
            ClientToolCalled: self._client_tool,
            AudioOutEnded: self._audio_ended,
            Interrupted: self._interrupted,
            TurnCompleted: self._turn_completed,
            Degraded: self._degraded,
            Failed: self._failed,
        }

    def encode(self, event: ServerEvent) -> list[dict[str, Any]]:
        """The messages an event makes due."""
        if isinstance(event, ProtocolReply):
            return [dict(event.body)]
        handler = self._handlers.get(type(event))
        return [] if handler is None else self._state.frames(handler(event))

    def audio(self, turn_id: str) -> tuple[Response | None, list[dict[str, Any]]]:
        """Audio of a turn is about to go out: its response, and what must be told before."""
        response = self._state.responses.get(turn_id)
        if response is None or response.audio_begun:
            return response, []
        events = response.audio()
        if self._state.media:
            self._playing = response.response_id
            events.append(("output_audio_buffer.started", {"response_id": response.response_id}))
        return response, self._state.frames(events)

    # --- the session ---

    def _session_started(self, _: SessionStarted) -> list[Event]:
        state = self._state
        conversation = {"id": f"conv_{state.session_id.rpartition('_')[2]}", "object": "realtime.conversation"}
        return [
            ("session.created", {"session": state.config.rendered()}),
            *state.warnings(state.config.warnings()),
            ("conversation.created", {"conversation": conversation}),
        ]

    def _degraded(self, event: Degraded) -> list[Event]:
        if not self._state.dialect.warns:
            return []
        return [("warning", {"warning": {"code": "degraded", "message": event.reason}})]

    def _failed(self, event: Failed) -> list[Event]:
        response = None if event.turn_id is None else self._state.responses.get(event.turn_id)
        if response is not None:  # told when the response ends
            response.failure = (event.code, event.message)
            return []
        requested = None if event.turn_id is None else self._state.requested.pop(event.turn_id, None)
        code = _CODES.get((event.details or {}).get("reason")) or _CODES.get(event.code, event.code.replace(".", "_"))
        event_id = None if requested is None else requested.event_id
        if code == _EMPTY:
            event_id = self._state.commit_event_id
        kind = "invalid_request_error" if event.code.startswith(("request", "session")) else "server_error"
        fault = RealtimeFault(event.message, code=code, kind=kind)
        return [("error", {"error": error_json(fault, event_id)})]

    # --- hearing ---

    def _speech_started(self, event: SpeechStartedHeard) -> list[Event]:
        detection = self._state.config.settings.detection
        interrupts = detection is None or detection.interrupts
        if self._state.active is not None and interrupts:
            self._held_start = self._held_start or event
            return []
        return self._tell_start(event)

    def _tell_start(self, event: SpeechStartedHeard | None) -> list[Event]:
        self._held_start = None
        if event is None or event.utterance_id in self._told_starts:
            return []
        self._told_starts.add(event.utterance_id)
        fields = {"audio_start_ms": event.at_ms, "item_id": self._item_id(event.utterance_id)}
        return [("input_audio_buffer.speech_started", fields)]

    def _speech_stopped(self, event: SpeechStoppedHeard) -> list[Event]:
        self._stopped_ms[event.utterance_id] = event.at_ms
        while len(self._stopped_ms) > MAX_UTTERANCES:
            del self._stopped_ms[next(iter(self._stopped_ms))]
        return []

    def _tell_stop(self, utterance: int, end_ms: int) -> list[Event]:
        if utterance not in self._told_starts:
            return []
        self._told_starts.discard(utterance)
        fields = {"audio_end_ms": self._stopped_ms.pop(utterance, end_ms), "item_id": self._item_id(utterance)}
        return [("input_audio_buffer.speech_stopped", fields)]

    def _speech_dropped(self, event: SpeechDropped) -> list[Event]:
        if self._held_start is not None and self._held_start.utterance_id == event.utterance_id:
            self._held_start = None
        return self._tell_stop(event.utterance_id, event.at_ms)

    def _input_committed(self, event: InputCommitted) -> list[Event]:
        self._committed.add(event.utterance_id)
        return self._commit(event.utterance_id)

    def _commit(self, utterance: int) -> list[Event]:
        item = user_audio_item(self._item_id(utterance), None)
        before = self._state.items.add(item)
        seen = described(item)
        where = {"previous_item_id": before}
        return [
            ("input_audio_buffer.committed", where | {"item_id": item["id"]}),
            ("conversation.item.added", where | {"item": seen}),
            ("conversation.item.done", where | {"item": seen}),
        ]

    def _transcript(self, event: TranscriptUpdated) -> list[Event]:
        if not event.final:
            return []
        utterance, item_id = event.utterance_id, self._item_id(event.utterance_id)
        if event.corrected:  # of an item the client knows, or has deleted
            return self._transcribed(item_id, event)
        events: list[Event] = []
        if utterance in self._committed:
            self._committed.discard(utterance)
        elif item_id not in self._state.items:
            held = self._held_start if self._held_start and self._held_start.utterance_id == utterance else None
            started = held or SpeechStartedHeard(utterance, event.start_ms)
            if self._state.config.settings.detection is not None:
                events += self._tell_start(started)
            events += self._tell_stop(utterance, event.end_ms)
            events += self._commit(utterance)
        return events + self._transcribed(item_id, event)

    def _transcribed(self, item_id: str, event: TranscriptUpdated) -> list[Event]:
        item = self._state.items.get(item_id)
        if event.utterance_id in self._unheard:
            self._unheard.discard(event.utterance_id)
            return []
        if item is None or not self._state.config.settings.transcribes:
            return []
        item["content"][0]["transcript"] = event.text
        return self._told_words(item_id, event)

    def _told_words(self, item_id: str, event: TranscriptUpdated) -> list[Event]:
        where = {"item_id": item_id, "content_index": 0}
        more = self._state.config.transcribed(event)
        name = "conversation.item.input_audio_transcription"
        # A client adds deltas up: one that corrects would be told twice.
        tells = bool(event.text) and not event.corrected
        delta: list[Event] = [(f"{name}.delta", where | {"delta": event.text})] if tells else []
        return [*delta, (f"{name}.completed", where | {"transcript": event.text} | more)]

    def _input_failed(self, event: InputFailed) -> list[Event]:
        self._unheard.add(event.utterance_id)
        return [_failed_transcription(self._item_id(event.utterance_id), event.message)]

    def _recording(self, event: RecordingTranscribed) -> list[Event]:
        item = self._state.items.get(event.item_id)
        if item is None or not self._state.config.settings.transcribes:
            return []
        if event.text is None:
            return [_failed_transcription(event.item_id, "The recording could not be recognised.")]
        for part in item["content"]:
            if part["type"] == "input_audio" and part["transcript"] is None:
                part["transcript"] = event.text
        heard = TranscriptUpdated(0, event.text, True, 0, event.audio_ms)
        return self._told_words(event.item_id, heard)

    def _long_silence(self, event: LongSilence) -> list[Event]:
        item = user_audio_item(f"item_s{event.turn_id.rpartition('_')[2][:24]}", None)
        before = self._state.items.add(item)
        seen = described(item)
        where = {"previous_item_id": before}
        times = {"audio_start_ms": event.from_ms, "audio_end_ms": event.until_ms}
        return [
            ("input_audio_buffer.timeout_triggered", times | {"item_id": item["id"]}),
            ("input_audio_buffer.committed", where | {"item_id": item["id"]}),
            ("conversation.item.added", where | {"item": seen}),
            ("conversation.item.done", where | {"item": seen}),
        ]

    # --- responses ---

    def _turn_started(self, event: TurnStarted) -> list[Event]:
        state = self._state
        requested = state.requested.pop(event.turn_id, None)
        if requested is None:  # it answers what the client asked to be answered, too
            waiting = next((turn for turn, one in state.requested.items() if one.remembered), None)
            requested = None if waiting is None else state.requested.pop(waiting)
        reply = state.config.settings.reply if requested is None else requested.reply
        if state.voiceless:
            reply = replace(reply, audible=False)
        remembered = requested is None or requested.remembered
        response_id = f"resp_{event.turn_id.rpartition('_')[2]}"
        items = state.items if remembered else None
        response = Response(response_id, event.turn_id, reply, items=items)
        state.responses[event.turn_id] = response
        begun = response.begin(state.config, None if requested is None else requested.metadata)
        return [*begun, ("rate_limits.updated", {"rate_limits": self._allowance.spend()})]

    def _reply_text(self, event: ReplyText) -> list[Event]:
        response = self._state.responses.get(event.turn_id)
        return [] if response is None else response.text(event.text)

    def _caption(self, event: Caption) -> list[Event]:
        response = None if event.turn_id is None else self._state.responses.get(event.turn_id)
        return [] if response is None or event.speaker == "user" else response.words(event)

    def _visemes(self, event: VisemesOut) -> list[Event]:
        response = self._state.responses.get(event.turn_id)
        return [] if response is None else response.visemes(event)

    def _client_tool(self, event: ClientToolCalled) -> list[Event]:
        response = self._state.responses.get(event.turn_id)
        return [] if response is None else response.call(event.call_id, event.name, event.arguments)

    def _audio_ended(self, event: AudioOutEnded) -> list[Event]:
        response = self._state.responses.get(event.turn_id)
        return [] if response is None else response.audio_ended()

    def _interrupted(self, event: Interrupted) -> list[Event]:
        response = self._state.responses.get(event.turn_id)
        if event.resumable or response is None:
            return []
        events = self._tell_start(self._held_start)
        if self._playing == response.response_id:
            self._playing = None
            events.append(("output_audio_buffer.cleared", {"response_id": response.response_id}))
            # Who hears a track cannot know how much of it was played: the server truncates by itself.
            response.heard_text = event.heard_text
            where = {"item_id": response.item_id, "content_index": 0, "audio_end_ms": event.heard_ms}
            events.append(("conversation.item.truncated", where))
        return events

    def _turn_completed(self, event: TurnCompleted) -> list[Event]:
        response = self._state.responses.pop(event.turn_id, None)
        if response is None:
            return []
        events = response.finish(event)
        if self._playing == response.response_id:
            self._playing = None
            events.append(("output_audio_buffer.stopped", {"response_id": response.response_id}))
        if self._state.active is None:  # the user spoke over the end of it
            events += self._tell_start(self._held_start)
        return events

    def _item_id(self, utterance: int) -> str:
        return spoken_item_id(self._state.session_id, utterance)


_EMPTY: Final = "input_audio_buffer_commit_empty"
_CODES: Final[dict[Any, str]] = {
    "reply_active": "conversation_already_has_active_response",
    "input_empty": _EMPTY,
    "quota.exceeded": "insufficient_quota",
    "billing.payment_required": "insufficient_quota",
}


def _failed_transcription(item_id: str, message: str) -> Event:
    error = {"type": "server_error", "code": "transcription_failed", "message": message}
    fields = {"item_id": item_id, "content_index": 0, "error": error}
    return ("conversation.item.input_audio_transcription.failed", fields)
