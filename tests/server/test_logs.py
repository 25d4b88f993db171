"""What the log says, and what it withholds."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from typing import Literal

import pytest

from server.observability.logs import configure_logging
from server.settings import LogSettings


@pytest.fixture(autouse=True)
def logging_as_before() -> Generator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    rooms = {name: logging.getLogger(name).level for name in ("server", "agents", "audio", "metering")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in rooms.items():
        logging.getLogger(name).setLevel(before)


def logged(form: Literal["auto", "plain", "json"], *, transcripts: bool = False) -> str:
    out = io.StringIO()
    configure_logging(LogSettings(format=form, transcripts=transcripts), out)
    logging.getLogger("server.test").info("turn completed", extra={"turn_id": "t1", "said_text": "my secret"})
    return out.getvalue()


def test_machines_get_one_object_a_line() -> None:
    line = json.loads(logged("auto"))
    assert (line["message"], line["level"], line["turn_id"]) == ("turn completed", "info", "t1")


@pytest.mark.parametrize("form", ["plain", "json"])
def test_what_people_say_is_withheld_unless_asked_for(form: Literal["plain", "json"]) -> None:
    assert "my secret" not in logged(form)
    assert "my secret" in logged(form, transcripts=True)


def test_libraries_are_heard_only_when_something_is_wrong() -> None:
    out = io.StringIO()
    configure_logging(LogSettings(level="debug", format="json"), out)
    logging.getLogger("httpx").info("a request with a secret in its address")
    logging.getLogger("httpx").warning("trouble")
    logging.getLogger("agents.test").debug("detail")
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["trouble", "detail"]
