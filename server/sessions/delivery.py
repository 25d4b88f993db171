"""A session's events as frames: the port, and what it is for the voice and chat sockets.

``VoiceDelivery`` owns the codec's outbound side, the speech encoder, the event ids and the replay buffer of one
session. I/O-free: the caller sends the frames. What a client did not ask for (captions, tokens) is left out here, so
it takes no id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agents.events import (
    AudioOut,
    AudioOutEnded,
    Caption,
    DirectedEvent,
    Interrupted,
    ReplyText,
    ServerEvent,
    VisemesOut,
)
from audio.formats import AudioFormat
from server.sessions.media import VoiceBacklog, VoiceSink
from server.sessions.replay import Frame, ReplayBuffer
from server.sessions.speech_out import SpeechEncoder
from server.wire.values import EncodedAudio
from server.wire.voice_json import VoiceCodec
from server.wire.voice_messages import JsonEvent


class Delivery(Protocol):
    """Everything one client is told."""

    @property
    def resumption(self) -> VoiceDelivery | None:
        """What a client that comes back is sent; ``None`` where the protocol knows no coming back, and the session ends
        with its connection."""
        ...

    @property
    def frames_lost(self) -> int:
        """Frames that were to be kept for a client that comes back, and could not."""
        ...

    def frames(self, event: ServerEvent) -> list[Frame]:
        """The frames that tell the client; none for what it did not ask for."""
        ...


class VoiceDelivery:
    """``Delivery`` for ``/v1/voice/ws``, ``/v1/ws`` and our own WebRTC. ``epoch_ms`` dates the frames."""

    def __init__(self, codec: VoiceCodec, replay: ReplayBuffer, epoch_ms: Callable[[], int]) -> None:
        self.codec = codec
        self.replay = replay
        self._epoch_ms = epoch_ms
        self._speech: SpeechEncoder | None = None
        self._sink: VoiceSink | None = None
        self._kept: VoiceBacklog | None = None

    @property
    def resumption(self) -> VoiceDelivery:
        return self

    @property
    def frames_lost(self) -> int:
        return self.replay.dropped

    def open_audio(self, output: AudioFormat, rate_hz: int) -> None:
        """From now on ``AudioOut`` events come in ``rate_hz`` and leave as ``output``."""
        self._speech = SpeechEncoder(output, rate_hz)

    @property
    def waits(self) -> bool:
        """Whether the agent's audio is kept for something to carry it."""
        return self._kept is not None

    @property
    def plays(self) -> bool:
        """Whether the agent's audio goes out beside the frames, whether anybody is sent those or not."""
        return self._sink is not None

    def carry_audio(self, sink: VoiceSink | None) -> list[AudioOut]:
        """From now on the agent's audio goes to ``sink`` (``None``: into frames), what was kept first; returns that."""
        self._sink = sink
        kept, self._kept = self._kept, None
        events = [] if kept is None else kept.take()
        for event in events:
            self._audio_out(event)
        return events

    def keep_audio(self, gone: VoiceSink) -> None:
        """This sink is gone: what the agent says now is kept for whatever comes next, the newest seconds of it.

        Nothing happens where something else carries the audio by now.
        """
        if self._sink is gone:
            self._sink, self._kept = None, VoiceBacklog()

    def frames(self, event: ServerEvent) -> list[Frame]:
        """The frames that tell the client, kept for replay."""
        if isinstance(event, DirectedEvent):
            return []  # other protocols have a word for it
        match event:
            case AudioOut():
                return self._audio_out(event)
            case AudioOutEnded():
                return [*self._audio_tail(), self._json(event)]
            case Interrupted():
                self._stop_audio()
                return [self._json(event)]
            case _:
                return [self._json(event)] if self._wanted(event) else []

    def resumed(self, session_id: str, last_event_id: int) -> str:
        """``session.resumed``, to be sent before the kept frames after ``last_event_id``."""
        missed = self.replay.missed(last_event_id)
        return self.codec.encode_resumed(session_id, missed, last_event_id + missed, self._epoch_ms())

    def after(self, event_id: int) -> list[tuple[int, Frame]]:
        """The kept frames after ``event_id``."""
        return self.replay.after(event_id)

    def _wanted(self, event: JsonEvent) -> bool:
        settings = self.codec.settings
        if settings is None:
            return not isinstance(event, Caption | VisemesOut) or (isinstance(event, Caption) and event.only)
        match event:
            case Caption():
                return settings.sends_captions or event.only
            case VisemesOut():
                return settings.output.visemes
            case ReplyText():
                return "text" in settings.output.modalities
            case _:
                return True

    def _json(self, event: JsonEvent) -> Frame:
        event_id = self.replay.last_id + 1
        frame = self.codec.encode(event, event_id, self._epoch_ms())
        self.replay.append(event_id, frame)
        return frame

    # --- audio ---

    def _audio_out(self, event: AudioOut) -> list[Frame]:
        if self._kept is not None:
            self._kept.add(event)
            return []
        if self._sink is not None:
            self._sink.play(event.samples, event.sample_rate_hz)
            return []
        return self._audio([] if self._speech is None else self._speech.encode(event))

    def _audio_tail(self) -> list[Frame]:
        if self._sink is not None:
            self._sink.finish()
            return []
        return self._audio([] if self._speech is None else self._speech.finish())

    def _stop_audio(self) -> None:
        if self._kept is not None:
            self._kept.clear()
        if self._sink is not None:
            self._sink.clear()
        if self._speech is not None:
            self._speech.drop()

    def _audio(self, stretches: list[EncodedAudio]) -> list[Frame]:
        frames: list[Frame] = []
        for stretch in stretches:
            for frame in self.codec.encode_audio(stretch, self.replay.last_id + 1, self._epoch_ms()):
                self.replay.append(self.replay.last_id + 1, frame)
                frames.append(frame)
        return frames
