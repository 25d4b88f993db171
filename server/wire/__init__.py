"""I/O-free protocol codecs: bytes and text in, client events out; server events in, frames out."""
