"""Everything about samples: formats, codecs, voice activity, speech-to-text, text-to-speech, playout.

Imports nothing of ours from outside this room; ``agents`` drives it.
"""
