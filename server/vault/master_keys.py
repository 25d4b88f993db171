"""Where master keys come from, and the ring of those a server holds: the newest first.

Which of them seals new secrets is not the ring's to say but the records' (``server.vault.rotation``), so that servers
that share records agree. Sources block and belong on worker threads. Knows no secret of a tenant.
"""

from __future__ import annotations

import base64
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from server.vault.envelope import MasterKey, new_master_key
from server.vault.errors import VaultLocked
from server.vault_settings import VaultSettings, decoded

_HEAD: Final = (
    "# Master keys of a Convergio Voice vault, the newest first.\n"
    "# Whoever has this file and the records has the provider keys.\n"
)
_UNSAFE_BITS: Final = 0o077


class MasterKeySource(Protocol):
    """Where keys are kept. All of it blocks; raises VaultLocked, VaultUnavailable."""

    @property
    def name(self) -> str:
        """In words, for the operator."""
        ...

    @property
    def is_ours(self) -> bool:
        """Whether keys may be added and dropped here; else the operator does."""
        ...

    def read(self) -> tuple[MasterKey, ...]:
        """The newest first; empty where there is none yet."""
        ...

    def add(self, key: MasterKey) -> None:
        """A new one, which is the newest. Durable when it returns."""
        ...

    def keep_only(self, key_id: str) -> None:
        """Drop all others. Durable when it returns."""
        ...


class KeyFile:
    """A file that only its owner may read: one key a line, in base64."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"the file {self._path}"

    @property
    def is_ours(self) -> bool:
        return os.access(self._path if self._path.exists() else self._path.parent, os.W_OK)

    def read(self) -> tuple[MasterKey, ...]:
        """See the port. Raises VaultLocked where others may read it, or a line is no key."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise VaultLocked(f"{self._path} is not a file")
                if stat.S_IMODE(found.st_mode) & _UNSAFE_BITS:
                    raise VaultLocked(f"{self._path} can be read by other users: chmod 600 {self._path}")
                lines = file.read().decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise VaultLocked(f"{self._path} cannot be read ({error.strerror})") from None
        wanted = [line for line in lines if line.strip() and not line.startswith("#")]
        values = [decoded(line) for line in wanted]
        if not values or any(value is None for value in values):
            raise VaultLocked(f"{self._path} must hold base64 of 32 bytes on each line (openssl rand -base64 32)")
        return tuple(MasterKey(value) for value in values if value is not None)

    def create(self) -> MasterKey:
        """The first key. Where another process was quicker, its key."""
        key = new_master_key()
        made = self._written((key,))
        try:
            os.link(made, self._path)
            self._sync_directory()
        except FileExistsError:
            return self.read()[0]
        except OSError as error:
            raise VaultLocked(f"{self._path} cannot be made ({error.strerror})") from None
        finally:
            made.unlink()
        return key

    def add(self, key: MasterKey) -> None:
        self._replace((key, *self.read()))

    def keep_only(self, key_id: str) -> None:
        self._replace(tuple(key for key in self.read() if key.id == key_id))

    def _replace(self, keys: Sequence[MasterKey]) -> None:
        if not keys:
            raise VaultLocked("a file of master keys is never left empty")
        try:
            self._written(keys).replace(self._path)
            self._sync_directory()
        except OSError as error:
            raise VaultLocked(f"{self._path} cannot be written ({error.strerror})") from None

    def _written(self, keys: Sequence[MasterKey]) -> Path:
        """The keys in a new file beside ours, on the disk."""
        path = self._path.with_name(f".{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
                file.write(_HEAD + "".join(f"{base64.b64encode(key.value).decode()}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise VaultLocked(f"{path} cannot be written ({error.strerror})") from None
        return path

    def _sync_directory(self) -> None:
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class GivenKeys:
    """Keys of the settings (``vault.master_keys``), which only the operator changes."""

    def __init__(self, settings: VaultSettings) -> None:
        values = [decoded(key) for key in settings.master_keys]
        self._keys = tuple(MasterKey(value) for value in values if value is not None)

    @property
    def name(self) -> str:
        return "vault.master_keys"

    @property
    def is_ours(self) -> bool:
        return False

    def read(self) -> tuple[MasterKey, ...]:
        return self._keys

    def add(self, key: MasterKey) -> None:
        raise VaultLocked("put the new key in front of vault.master_keys, and start the servers again")

    def keep_only(self, key_id: str) -> None:
        raise VaultLocked("take the old keys out of vault.master_keys")


class MasterKeys:
    """The ring of one server: read when first asked, and again when a key is asked for that it does not hold.

    Blocks; may be used from any thread.
    """

    def __init__(self, source: MasterKeySource) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._held: dict[str, MasterKey] | None = None

    def key(self, key_id: str) -> MasterKey:
        """The key of this id. Raises VaultLocked, VaultUnavailable."""
        with self._lock:
            if self._held is None or key_id not in self._held:
                self._held = {key.id: key for key in self.source.read()}
            found = self._held.get(key_id)
        if found is None:
            raise VaultLocked(f"{self.source.name} does not hold the master key {key_id}, which the secrets need")
        return found

    def newest(self) -> MasterKey | None:
        """The newest of the source, read anew. Raises VaultLocked, VaultUnavailable."""
        with self._lock:
            keys = self.source.read()
            self._held = {key.id: key for key in keys}
        return keys[0] if keys else None
