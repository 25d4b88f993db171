"""The embedded language model's own process: a llama.cpp HTTP server on the loopback interface.

A crash in native code ends this process, never the voice server. Started as a script by
``agents.models.llama_process``, so it imports nothing of ours: its settings come as one line of JSON on standard
input, its address goes out as one line of JSON on standard output, and it ends when standard input does, that is,
with its parent. A terminal's interrupt is the parent's business and ignored here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from typing import IO, Any

# GNU OpenMP's workers spin at every barrier, by default for milliseconds. Measured on 2 cores with one of them busy
# elsewhere: 7 tokens/s and 500 ms to the first one; with a short spin 20 tokens/s and 180 ms, at no cost when idle.
# The library reads this once, when it is loaded.
SPIN_COUNT = "2000"

EXIT_UNUSABLE = 3


def main() -> int:
    """Serve until standard input ends. Returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Native code may print: what it prints must not be taken for our answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = json.loads(sys.stdin.readline())
    os.putenv("GOMP_SPINCOUNT", SPIN_COUNT)
    try:
        # Loads the weights and returns once it listens.
        server = _serve(settings)
    except Exception as error:  # noqa: BLE001 - reported to the parent, whatever it is
        _tell(answers, error=f"{type(error).__name__}: {error}")
        return EXIT_UNUSABLE
    _tell(answers, address=server.listening_address)
    sys.stdin.read()
    # The native threads of a running completion would hold up an orderly exit; there is nothing to save.
    os._exit(0)


def _tell(answers: IO[str], **answer: str) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _serve(settings: dict[str, Any]) -> Any:
    # After the environment is set; a native module without type information.
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    params.n_gpu_layers = 0
    params.fit_params = False
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_tokens"]
    params.cpuparams.n_threads = settings["decode_threads"]
    params.cpuparams_batch.n_threads = settings["prompt_threads"]
    params.n_predict = settings["max_output_tokens"]
    # A conversation goes to the slot that holds most of it, else to the least recently used one, whose content
    # moves to the cache in memory. At the default (0.1) the shared system prompt alone makes every new conversation
    # throw out another one.
    params.slot_prompt_similarity = 0.5
    params.cache_ram_mib = settings["cache_mib"]
    # "Don't repeat yourself" (DRY) sampling: what keeps a very small model out of loops.
    params.sampling.dry_multiplier = 0.8
    params.sampling.top_p = 0.9
    return xllamacpp.Server(params)


if __name__ == "__main__":
    sys.exit(main())
