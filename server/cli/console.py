"""How commands speak to people and to machines: colour and progress only on terminals, JSON where asked for.

Results go to stdout, everything else to stderr, so that a command's output can be piped.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from server.settings import plain_output_wanted

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH: Final = 160


def console(*, err: bool = False) -> Console:
    """A rich console on stdout (or stderr), without colour where that is not a terminal or NO_COLOR is set."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, and not every command needs it

    stream = sys.stderr if err else sys.stdout
    terminal = stream.isatty()
    width = None if terminal else PIPE_WIDTH
    return Console(file=stream, no_color=plain_output_wanted() or not terminal, highlight=False, width=width)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
