"""WebRTC: one peer is one browser's audio and data channels. ``port`` is all the rest of the server needs."""
