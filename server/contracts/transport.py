"""The ways a conversation may come: a closed set, in filters, usage events and the labels of metrics alike."""

from __future__ import annotations

from typing import Final, Literal, get_args

Transport = Literal["http", "websocket", "chat", "webrtc", "realtime", "realtime_webrtc", "voice_live", "phone"]
"""``/v1/chat``; our own protocol over a socket, in writing, over WebRTC; the realtime protocols; telephone calls."""

TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)
