"""What the identity tables do when a person is deleted: first nothing of theirs opens, then nothing names them.

Called by the privacy office (``server.privacy.erasure``) in its own transactions; both bear being called twice. Ending
comes first and by itself: other processes heed it by its number, and by the id that they know the person under.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from server.identity.tables import api_keys, take_number, users


class Leaving:
    """A person's leaving, as the privacy office asks for it."""

    def __init__(self, epoch_ms: Callable[[], int]) -> None:
        self._epoch_ms = epoch_ms

    def leave(self, connection: sa.Connection, tenant_id: str, user_id: str) -> None:
        """Their login ends, and the keys that are theirs are revoked."""
        number, now_ms = take_number(connection), self._epoch_ms()
        connection.execute(
            users.update()
            .where(users.c.tenant_id == tenant_id, users.c.user_id == user_id)
            .values(
                generation=users.c.generation + 1,
                disabled_at_ms=sa.func.coalesce(users.c.disabled_at_ms, now_ms),
                version=number,
            )
        )
        connection.execute(
            api_keys.update()
            .where(api_keys.c.tenant_id == tenant_id, api_keys.c.user_id == user_id)
            .values(revoked_at_ms=sa.func.coalesce(api_keys.c.revoked_at_ms, now_ms), version=number)
        )

    def forget(self, connection: sa.Connection, tenant_id: str, user_id: str, pseudonym: str) -> None:
        """The pseudonym in place of their id, and no name, login name or password."""
        number = take_number(connection)
        blank = {"name": "", "login_name": None, "password": None, "user_id": pseudonym, "version": number}
        mine = (users.c.tenant_id == tenant_id) & (users.c.user_id == user_id)
        connection.execute(users.update().where(mine).values(blank))
        theirs = (api_keys.c.tenant_id == tenant_id) & (api_keys.c.user_id == user_id)
        connection.execute(api_keys.update().where(theirs).values(user_id=pseudonym, name="", version=number))
