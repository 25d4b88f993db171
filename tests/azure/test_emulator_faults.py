"""Faults: how they are said, and when they strike."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from server.azure_emulator.faults import (
    PRESETS,
    Fault,
    FaultBook,
    FaultError,
    described,
    fault_from_mapping,
    fault_from_text,
)
from server.cli.azure_emulator import command


def test_a_fault_strikes_at_its_point_as_often_as_it_should() -> None:
    book = FaultBook([Fault("close", service="stt", at="phrase", after=1, times=2)])
    assert book.take("tts", "phrase", 1) is None
    assert book.take("stt", "hypothesis", 1) is None
    assert book.take("stt", "phrase", 0) is None
    assert [book.take("stt", "phrase", 1) is not None for _ in range(3)] == [True, True, False]
    assert (book.struck, book.faults) == (2, ())


def test_a_fault_without_times_strikes_always() -> None:
    book = FaultBook([PRESETS["unavailable"]])
    assert all(book.take("tts", "upgrade") for _ in range(5))
    book.clear()
    assert book.take("tts", "upgrade") is None


def test_close_and_abort_have_a_usual_point_in_either_service() -> None:
    book = FaultBook([Fault("abort")])
    assert book.take("stt", "phrase")
    assert book.take("tts", "audio")
    assert book.take("tts", "phrase") is None


def test_text_and_json_say_the_same() -> None:
    said = fault_from_text("throttled,times=2,service=stt,retry_after_s=9")
    assert said == fault_from_mapping({"preset": "throttled", "times": 2, "service": "stt", "retry_after_s": 9})
    assert said == Fault("refuse", service="stt", times=2, status=429, retry_after_s=9)
    assert fault_from_text("close, code=4429, at=audio, after=3") == Fault("close", at="audio", code=4429, after=3)
    assert fault_from_text("gap,times=always").times is None
    assert fault_from_text("slow-voice,factor=2.5").factor == 2.5


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_said(name: str) -> None:
    assert fault_from_text(name) == PRESETS[name]
    assert fault_from_mapping({"kind": PRESETS[name].kind, **described(PRESETS[name])}) == PRESETS[name]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "close,code",
        "close,code=abc",
        "close,at=nowhere",
        "close,service=video",
        "close,colour=red",
        "close,times=0",
        "close,after=-1",
        "refuse,at=phrase",
        "pace,factor=fast",
    ],
)
def test_what_makes_no_sense_is_refused_in_words(text: str) -> None:
    with pytest.raises(FaultError):
        fault_from_text(text)


@pytest.mark.parametrize("given", [{}, {"kind": 1}, {"kind": "close", "code": True}, {"preset": "x"}])
def test_json_that_makes_no_sense_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(FaultError):
        fault_from_mapping(given)


def test_the_command_line_explains_itself() -> None:
    told = CliRunner().invoke(command, ["--help"])
    assert told.exit_code == 0
    assert "--scripted" in told.output
    listed = CliRunner().invoke(command, ["--list-faults"])
    assert listed.exit_code == 0
    assert all(name in listed.output for name in PRESETS)
    wrong = CliRunner().invoke(command, ["--scripted", "--fault", "nonsense"])
    assert wrong.exit_code == 2
    assert "nonsense" in wrong.output
