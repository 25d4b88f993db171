"""What any test may ask for: a real PostgreSQL, started once for all that want one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer, programs, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server; take a database of your own from it."""
    if programs() is None:
        pytest.skip("PostgreSQL 15 or newer is not installed (Debian, Ubuntu: apt-get install postgresql)")
    with running_postgres() as server:
        yield server
