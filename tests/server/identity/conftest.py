"""What the tests of identity ask for: the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.identity.identity_desk import Desktop, LosableRecords, Times, losable_records


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LosableRecords]:
    with losable_records(request, tmp_path, request.param) as opened:
        yield opened


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def desktop(records: LosableRecords, times: Times) -> Desktop:
    return Desktop(records, times, host="0.0.0.0")
