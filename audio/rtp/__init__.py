"""Streams of RTP packets to samples: what a lossy network does to audio, undone. No sockets, no clock."""
