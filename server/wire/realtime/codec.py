"""The codec of the realtime protocols: messages in, acts out; server events in, messages out.

I/O-free: no clock, no socket, no audio engine. One per session, driven by ``server.sessions.realtime_conduct`` and
``server.sessions.realtime_delivery`` in the order things happen. What it adds to the original (captions, latency,
degradations) goes only to clients that ask for it, as events named ``convergio.*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agents.core.spoken_items import Truncated
from agents.events import (
    AudioQuality,
    Caption,
    ContentFiltered,
    Degraded,
    ServerEvent,
    SessionDraining,
    ToolCalled,
    ToolReturned,
    TranscriptUpdated,
    TurnLatency,
)
from server.wire.realtime.acts import Act
from server.wire.realtime.inbound import Inbound
from server.wire.realtime.outbound import Allowance, Outbound
from server.wire.realtime.state import RealtimeState
from server.wire.values import EncodedAudio, without_surrogates
from server.wire.voice_messages import message_of

EXTRAS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "captions": (Caption,),
    "latency": (TurnLatency,),
    "degraded": (Degraded, SessionDraining),
    "partials": (TranscriptUpdated,),
    "tools": (ToolCalled, ToolReturned),
    "audio_quality": (AudioQuality,),
    "content_filter": (ContentFiltered,),
}
"""What a client may ask to be told beyond the original protocol, by name."""

_ENCODER: Final = msgspec.json.Encoder()


class RealtimeCodec:
    """One client's side of a realtime protocol."""

    def __init__(
        self,
        state: RealtimeState,
        allowance: Allowance,
        *,
        extras: frozenset[str] = frozenset(),
        max_faults: int = 20,
    ) -> None:
        """``extras`` are names of ``EXTRAS``."""
        self.state = state
        self._inbound = Inbound(state, max_faults)
        self._outbound = Outbound(state, allowance)
        self._extras: tuple[type[Any], ...] = tuple(kind for name in sorted(extras) for kind in EXTRAS[name])

    def feed(self, frame: str | bytes) -> list[Act]:
        """What one message asks for. Raises RealtimeFault where the connection must end."""
        return self._inbound.feed(frame)

    def encode(self, event: ServerEvent) -> list[str]:
        """The messages an event makes due, in order. ``AudioOut`` goes through ``encode_audio``."""
        frames = [_text(frame) for frame in self._outbound.encode(event)]
        if isinstance(event, self._extras):
            frames.append(self._extra(event))
        return frames

    def begin_audio(self, turn_id: str) -> list[str]:
        """What must be told before the first audio of a turn goes out beside the messages."""
        _, frames = self._outbound.audio(turn_id)
        return [_text(frame) for frame in frames]

    def encode_audio(self, audio: EncodedAudio) -> list[str]:
        """A stretch of a turn's audio in the session's output format."""
        response, frames = self._outbound.audio(audio.turn_id)
        if response is None:
            return []
        delta = self.state.frame(("response.output_audio.delta", response.place() | {"delta": audio.payload}))
        return [_text(frame) for frame in (*frames, delta) if frame is not None]

    def truncated(self, item_id: str, left: Truncated, content_index: int) -> dict[str, Any]:
        """The answer to a truncation: what is left of the item."""
        item = self.state.items.get(item_id)
        if item is not None and left.text is not None:
            for part in item["content"]:
                if "transcript" in part:
                    part["transcript"] = left.text
        for response in self.state.responses.values():
            if response.item_id == item_id:
                response.heard_text = left.text
        fields = {"item_id": item_id, "content_index": content_index, "audio_end_ms": left.audio_ms}
        frame = self.state.frame(("conversation.item.truncated", fields))
        assert frame is not None, "every dialect has it"
        return frame

    def _extra(self, event: Any) -> str:
        kind, turn_id, fields = message_of(event)
        body: dict[str, Any] = {"response_id": f"resp_{turn_id.rpartition('_')[2]}"} if turn_id else {}
        frame = self.state.frame((f"convergio.{kind}", body | dict(fields)))
        assert frame is not None, "extras are the same in every dialect"
        return _text(frame)


def _text(frame: dict[str, Any]) -> str:
    try:
        return _ENCODER.encode(frame).decode()
    except UnicodeEncodeError:
        return _ENCODER.encode(without_surrogates(frame)).decode()
