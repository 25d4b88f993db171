"""Who came lately, by the SHA-256 of what they presented; and every credential in use, to be ended where it is held.

Pure but for being one: owned by ``server.identity.callers``. Bounded; what is forgotten is only asked for again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from server.guard import Credential, Identity
from server.identity.lookup import Changes

MOST_KNOWN: Final = 10_000
MOST_UNKNOWN: Final = 4_096


class CallerCache:
    """See the module. ``number`` is that of the newest change heeded; ``None``: none was ever looked for."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._known: OrderedDict[bytes, Identity] = OrderedDict()
        self._unknown: OrderedDict[bytes, None] = OrderedDict()
        self._credentials: WeakValueDictionary[str, Credential] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digest: bytes, now_s: float) -> Identity | None:
        """Who this is, unless their credential has ended."""
        identity = self._known.get(digest)
        if identity is None:
            return None
        if identity.credential is not None and identity.credential.ended(now_s):
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return identity

    def is_unknown(self, digest: bytes) -> bool:
        """Whether nobody was found to be this, and nothing has changed since."""
        return digest in self._unknown

    def keep(self, digest: bytes, identity: Identity | None, number: int) -> None:
        """What was found when ``number`` was the newest change; forgotten at once if a newer one is heeded already."""
        if self.number is None or number < self.number:
            return
        if identity is not None:
            self._known[digest] = identity
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            return
        self._unknown[digest] = None
        if len(self._unknown) > MOST_UNKNOWN:
            self._unknown.popitem(last=False)

    def credential(self, found: Credential) -> Credential:
        """The one of this name that is in use already, or this, from now on."""
        known = self._credentials.get(found.name)
        if known is not None and not known.revoked:
            return known
        self._credentials[found.name] = found
        return found

    def heed(self, changes: Changes) -> None:
        """End what has ended, and ask again for whoever a change concerns."""
        if self.number is not None and changes.number < self.number:  # an older database was put in place
            self._known.clear()
        self.number = changes.number
        if not changes.any:
            return
        self._unknown.clear()
        for credential in list(self._credentials.values()):
            if ended_by(credential, changes):
                credential.revoked = True
        concerned = [digest for digest, identity in self._known.items() if _concerns(identity, changes)]
        for digest in concerned:
            del self._known[digest]


def ended_by(credential: Credential, changes: Changes) -> bool:
    """Whether these changes end a credential."""
    keys = [changes.keys.get(name, True) for name in (credential.name, credential.key_id) if name is not None]
    opens, generation = changes.users.get(credential.user_id, (True, credential.generation))
    outdated = credential.generation is not None and generation != credential.generation
    closed = not changes.tenants.get(credential.tenant_id, True)
    return not all(keys) or not opens or outdated or closed or credential.name in changes.sessions


def _concerns(identity: Identity, changes: Changes) -> bool:
    credential = identity.credential
    assert credential is not None, "only what can end is kept here"
    return (
        credential.name in changes.keys
        or credential.key_id in changes.keys
        or credential.user_id in changes.users
        or credential.tenant_id in changes.tenants
        or credential.name in changes.sessions
    )
