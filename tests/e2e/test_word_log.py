"""What people say stands in the log where the operator turned transcripts on, and never of a school."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from privacy_talk import ADMIN, SCHOOL, ask, http_of, speak, with_keys
from voice_socket import joined

SAID = "said_words"


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.message, record.__dict__[SAID]) for record in caplog.records if SAID in record.__dict__]


async def test_what_is_said_and_written_is_logged_where_transcripts_are_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "server")
    async with with_keys(tmp_path, log={"transcripts": True}) as server, http_of(server, ADMIN) as http:
        await ask(http, "a lamp")
        async with joined(server.voice_url, additional_headers={"api-key": ADMIN}) as voice:
            await voice.say("voice.start", binary=True)
            await voice.until("session.started")
            await speak(voice)
    assert told(caplog) == [
        ("user wrote", "a lamp"),
        ("agent said", "You said: a lamp."),
        ("user said", "Go forward ten meters."),
        ("agent said", "You said: Go forward ten meters.."),
    ]


@pytest.mark.parametrize(("key", "transcripts"), [(SCHOOL, True), (ADMIN, False)])
async def test_nothing_that_is_said_is_logged_of_a_school_or_unasked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, transcripts: bool
) -> None:
    caplog.set_level(logging.INFO, "server")
    async with with_keys(tmp_path, log={"transcripts": transcripts}) as server, http_of(server, key) as http:
        await ask(http, "a lamp")
    assert told(caplog) == []
