"""The first key of a server that nobody can enter yet: told once, to a person and never to a log.

On a terminal it is printed. Where the output goes elsewhere (a container's log, a service manager's journal) it is put
into a file that only the server's own user can read, and the output says where. Driven by ``server.cli.serve``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread

if TYPE_CHECKING:
    from rich.console import Console

    from server.identity import IdentityOffice
    from server.settings import Settings

FILE_NAME: Final = "first-key"


async def first_key(out: Console, settings: Settings, identity: IdentityOffice) -> None:
    """Make it where everybody needs one and nobody has any, and tell it. Raises RecordsError, OSError."""
    if not settings.guarded or settings.keys:
        return
    key = await identity.first_key()
    if key is None:
        return
    if out.is_terminal:
        out.print("[bold]The key of this server's operator[/bold], shown this once. Keep it:")
        out.print(key, markup=False, soft_wrap=True)
        return
    path = settings.data_dir / FILE_NAME
    await anyio.to_thread.run_sync(_write, path, key)
    out.print(f"The key of this server's operator is in {path}: take it and delete the file.", soft_wrap=True)


def _write(path: Path, key: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(key + "\n")
