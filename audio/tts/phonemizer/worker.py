"""The phonemizer process: espeak-ng as the GPL ``piper-tts`` package bundles it, behind two pipes.

Owns its standard input and output, and nothing else: one JSON request a line in (``{"id", "text", "voice"}``), one JSON
reply a line out (``{"id", "clauses": [[phonemes, terminator, ends_sentence], ...]}`` or ``{"id", "error"}``), after a
first line ``{"ready": true}`` or ``{"error"}``. It ends when its input does. Run as a script, never imported:
``audio.tts.phonemizer.client`` starts it. The only file that loads code of ``piper-tts``, and only its native bridge
(the package itself would bring a second inference stack).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any, BinaryIO, Final

MAX_LINE_BYTES: Final = 65_536


def main() -> int:
    """Answer requests until the input ends; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = _take_stdout()
    try:
        bridge = _load_bridge()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        _reply(replies, {"error": f"the phonemizer of piper-tts did not load: {error}"})
        return 1
    _reply(replies, {"ready": True})
    requests = sys.stdin.buffer
    while line := requests.readline(MAX_LINE_BYTES):
        if not line.endswith(b"\n"):
            return 2
        try:
            _reply(replies, _answer(bridge, line))
        except BrokenPipeError:
            return 0
    return 0


def _take_stdout() -> BinaryIO:
    """The real standard output, for replies alone: whatever else prints goes to standard error from here on."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _load_bridge() -> Any:
    package = find_spec("piper")
    if package is None or not package.submodule_search_locations:
        raise ImportError("it is not installed")
    home = package.submodule_search_locations[0]
    spec = PathFinder.find_spec("espeakbridge", [home])
    if spec is None or spec.loader is None:
        raise ImportError(f"no espeakbridge in {home}")
    bridge = module_from_spec(spec)
    spec.loader.exec_module(bridge)
    bridge.initialize(os.path.join(home, "espeak-ng-data"))
    return bridge


def _answer(bridge: Any, line: bytes) -> dict[str, Any]:
    request_id: object = None
    try:
        request = json.loads(line)
        request_id = request["id"]
        bridge.set_voice(request["voice"])
        return {"id": request_id, "clauses": bridge.get_phonemes(request["text"])}
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        return {"id": request_id, "error": f"{type(error).__name__}: {error}"}


def _reply(replies: BinaryIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()


if __name__ == "__main__":
    sys.exit(main())
