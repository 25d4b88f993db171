"""A session's events as numbered frames: what goes out, in which order, under which id.

Owns the codec's outbound side, the speech encoder, the event ids and the replay buffer of one session. I/O-free: the
caller sends the frames. What a client did not ask for (captions, tokens) is left out here, so it takes no id.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.events import AudioOut, AudioOutEnded, Caption, Interrupted, ReplyText, ServerEvent
from audio.formats import AudioFormat
from server.sessions.replay import Frame, ReplayBuffer
from server.sessions.speech_out import SpeechEncoder
from server.wire.voice_json import EncodedAudio, VoiceCodec
from server.wire.voice_messages import JsonEvent


class Delivery:
    """Everything one client is told. ``epoch_ms`` dates the frames."""

    def __init__(self, codec: VoiceCodec, replay: ReplayBuffer, epoch_ms: Callable[[], int]) -> None:
        self.codec = codec
        self.replay = replay
        self._epoch_ms = epoch_ms
        self._speech: SpeechEncoder | None = None

    def open_audio(self, output: AudioFormat, rate_hz: int) -> None:
        """From now on ``AudioOut`` events come in ``rate_hz`` and leave as ``output``."""
        self._speech = SpeechEncoder(output, rate_hz)

    def frames(self, event: ServerEvent) -> list[Frame]:
        """The frames that tell the client, kept for replay; none for what it did not ask for."""
        match event:
            case AudioOut():
                return self._audio([] if self._speech is None else self._speech.encode(event))
            case AudioOutEnded():
                tail = self._audio([] if self._speech is None else self._speech.finish())
                return [*tail, self._json(event)]
            case Interrupted():
                if self._speech is not None:
                    self._speech.drop()
                return [self._json(event)]
            case _:
                return [self._json(event)] if self._wanted(event) else []

    def resumed(self, session_id: str, last_event_id: int) -> str:
        """``session.resumed``, to be sent before the kept frames after ``last_event_id``."""
        missed = self.replay.missed(last_event_id)
        return self.codec.encode_resumed(session_id, missed, last_event_id + missed, self._epoch_ms())

    def _wanted(self, event: JsonEvent) -> bool:
        settings = self.codec.settings
        if settings is None:
            return not isinstance(event, Caption)
        match event:
            case Caption():
                return settings.sends_captions
            case ReplyText():
                return "text" in settings.output.modalities
            case _:
                return True

    def _json(self, event: JsonEvent) -> Frame:
        event_id = self.replay.last_id + 1
        frame = self.codec.encode(event, event_id, self._epoch_ms())
        self.replay.append(event_id, frame)
        return frame

    def _audio(self, stretches: list[EncodedAudio]) -> list[Frame]:
        frames: list[Frame] = []
        for stretch in stretches:
            for frame in self.codec.encode_audio(stretch, self.replay.last_id + 1, self._epoch_ms()):
                self.replay.append(self.replay.last_id + 1, frame)
                frames.append(frame)
        return frames
