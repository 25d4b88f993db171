"""Everything that is going on with clients of this server: conversations, and questions answered outside of them.

Counts the questions, which no registry holds, by who asks; and ends what a person is in the middle of, for whoever
deletes them. Owned by the host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from agents.core.options import Identity
from server.contracts.errors import ErrorCode
from server.sessions.live import LiveSession
from server.sessions.registry import SessionRegistry

LOOK_EVERY_S: Final = 0.1
_WORDS: Final = "What was said here is being deleted."


class Underway:
    """See the module."""

    def __init__(self, registry: SessionRegistry) -> None:
        self._registry = registry
        self._questions: Counter[tuple[str, str]] = Counter()

    @property
    def questions(self) -> int:
        """How many are being answered."""
        return self._questions.total()

    @contextmanager
    def question(self, identity: Identity) -> Generator[None]:
        """One is, for as long as the body runs."""
        who = (identity.tenant_id, identity.user_id)
        self._questions[who] += 1
        try:
            yield
        finally:
            self._questions[who] -= 1
            if not self._questions[who]:
                del self._questions[who]

    async def end(self, tenant_id: str, user_id: str, limit_s: float) -> bool:
        """End a person's conversations, and wait until nothing of theirs runs; False where that takes longer."""
        with anyio.move_on_after(limit_s):
            while True:
                theirs = self._registry.of(tenant_id, user_id)
                await _end(theirs)
                if not theirs and (tenant_id, user_id) not in self._questions:
                    return True
                await anyio.sleep(LOOK_EVERY_S)
        return False

    async def end_session(self, session_id: str, limit_s: float) -> bool:
        """End one conversation, and wait for it; False where that takes longer."""
        live = self._registry.get(session_id)
        if live is None:
            return True
        with anyio.move_on_after(limit_s):
            await _end([live])
            return True
        return False


async def _end(hosted: list[LiveSession]) -> None:
    for live in hosted:
        live.end(ErrorCode.SESSION_EXPIRED, _WORDS)
    for live in hosted:
        await live.ended.wait()
