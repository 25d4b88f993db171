"""Media streams of telephone carriers: one I/O-free codec per file, all of them ``port.StreamCodec``."""
