"""Text to phonemes, in a process of its own: the GPL phonemizer is never loaded into this one."""
