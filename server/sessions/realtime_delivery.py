"""A realtime session's events as frames: what goes out, in which order, with the agent's audio in between.

Owns the codec's outbound side and the speech encoder, or the media sink where audio travels beside the messages.
Nothing is kept for replay: these protocols do not resume. The caller sends the frames.
"""

from __future__ import annotations

from agents.events import AudioOut, AudioOutEnded, Interrupted, ServerEvent
from audio.formats import AudioFormat
from server.sessions.media import VoiceSink
from server.sessions.replay import Frame
from server.sessions.speech_out import SpeechEncoder
from server.wire.realtime.codec import RealtimeCodec


class RealtimeDelivery:
    """``server.sessions.delivery.Delivery`` for the realtime protocols."""

    resumption = None
    frames_lost = 0

    def __init__(self, codec: RealtimeCodec, sink: VoiceSink | None = None) -> None:
        """``sink`` takes the agent's audio; ``None``: it goes into the messages."""
        self.codec = codec
        self._sink = sink
        self._speech: SpeechEncoder | None = None
        self._opened: tuple[AudioFormat, int] | None = None

    def open_audio(self, output: AudioFormat, rate_hz: int) -> None:
        """From now on ``AudioOut`` events come in ``rate_hz`` and leave as ``output``."""
        if self._sink is None and self._opened != (output, rate_hz):
            self._opened = (output, rate_hz)
            self._speech = SpeechEncoder(output, rate_hz)

    def frames(self, event: ServerEvent) -> list[Frame]:
        """The frames that tell the client."""
        match event:
            case AudioOut():
                return self._audio(event)
            case AudioOutEnded():
                return [*self._tail(), *self.codec.encode(event)]
            case Interrupted():
                if self._sink is not None:
                    self._sink.clear()
                elif self._speech is not None and not event.resumable:
                    self._speech.drop()
                return [*self.codec.encode(event)]
            case _:
                return [*self.codec.encode(event)]

    def _audio(self, event: AudioOut) -> list[Frame]:
        if self._sink is not None:
            self._sink.play(event.samples, event.sample_rate_hz)
            return [*self.codec.begin_audio(event.turn_id)]
        if self._speech is None:
            return []
        return [frame for stretch in self._speech.encode(event) for frame in self.codec.encode_audio(stretch)]

    def _tail(self) -> list[Frame]:
        if self._sink is not None:
            self._sink.finish()
            return []
        if self._speech is None:
            return []
        return [frame for stretch in self._speech.finish() for frame in self.codec.encode_audio(stretch)]
