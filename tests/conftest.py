"""What all tests share: properties are about what happens, not how soon, and machines that run them are busy. And what
any test may ask for: a real PostgreSQL, started once for all that want one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from postgres_server import PostgresServer, programs, running_postgres
from redis_server import RedisServer, program, running_redis

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that are run here set up this process's logging: the next test has it as it was."""
    loggers = [logging.getLogger(name) for name in (None, "server", "agents", "audio", "metering")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    root = loggers[0]
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server; take a database of your own from it."""
    if programs() is None:
        pytest.skip("PostgreSQL 15 or newer is not installed (Debian, Ubuntu: apt-get install postgresql)")
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A running Redis; empty it before you use it."""
    if program() is None:
        pytest.skip("redis-server is not installed (Debian, Ubuntu: apt-get install redis-server)")
    with running_redis() as server:
        yield server
