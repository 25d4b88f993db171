"""What end-to-end tests share: one server with its embedded engines, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_server import RealServer, embedded_server


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """``convergio-voice serve``; skipped, saying what is missing, where the engines are not installed."""
    with embedded_server(tmp_path_factory.mktemp("embedded")) as server:
        yield server
