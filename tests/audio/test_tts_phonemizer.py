"""The phonemizer process: what it says, and that nothing it does to us lasts."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import anyio
import psutil
import pytest

from audio.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.tts.phonemizer import find
from audio.tts.phonemizer.client import PhonemizerLimits, PhonemizerProcess
from audio.tts.phonemizer.port import MAX_CHARACTERS, Clause, Phonemizer, sentences
from audio.tts.phonemizer.program import EspeakProgram

HAS_PIPER = find_spec("piper") is not None
ESPEAK = shutil.which("espeak-ng")

needs_piper = [pytest.mark.engines, pytest.mark.skipif(not HAS_PIPER, reason="piper-tts is not installed")]
needs_espeak = pytest.mark.skipif(ESPEAK is None, reason="the espeak-ng program is not installed")

PREAMBLE = """
import json, sys, time
def say(reply): print(json.dumps(reply), flush=True)
"""
ECHO = """
say({"ready": True})
for line in sys.stdin:
    request = json.loads(line)
    say({"id": request["id"], "clauses": [[request["text"], ".", True]]})
"""


def scripted(program: str, **limits: float) -> PhonemizerProcess:
    """A phonemizer whose child runs ``program`` instead of the worker."""
    return PhonemizerProcess([sys.executable, "-c", PREAMBLE + program], PhonemizerLimits(**limits))  # type: ignore[arg-type]


@pytest.fixture(params=[pytest.param("process", marks=needs_piper), pytest.param("program", marks=needs_espeak)])
async def phonemizer(request: pytest.FixtureRequest) -> AsyncIterator[Phonemizer]:
    chosen = PhonemizerProcess() if request.param == "process" else EspeakProgram(str(ESPEAK))
    yield chosen
    await chosen.aclose()


def joined(phonemes: list[list[str]]) -> list[str]:
    return ["".join(sentence) for sentence in phonemes]


async def test_text_becomes_sentences_of_single_code_points_with_punctuation(phonemizer: Phonemizer) -> None:
    found = await phonemizer.phonemes("Hello, world! Is it you; or me?", "en-us")

    unstressed = [sentence.replace("ˈ", "").replace("ˌ", "") for sentence in joined(found)]
    assert unstressed == ["həloʊ, wɜːld!", "ɪz ɪt juː; ɔːɹ miː?"]
    assert all(len(symbol) == 1 for sentence in found for symbol in sentence)


async def test_a_phrase_cut_in_mid_sentence_ends_without_punctuation(phonemizer: Phonemizer) -> None:
    assert joined(await phonemizer.phonemes("so I think", "en-us")) == ["sˌoʊ aɪ θˈɪŋk"]


@pytest.mark.parametrize("text", ["", "...", "?!", "  "])
async def test_punctuation_alone_has_no_phonemes(phonemizer: Phonemizer, text: str) -> None:
    assert await phonemizer.phonemes(text, "en-us") == []


async def test_numbers_and_quotes_and_newlines_are_spoken(phonemizer: Phonemizer) -> None:
    text = 'He said "3.5 or 1,000" (maybe).\n-v it'
    spoken = " ".join(joined(await phonemizer.phonemes(text, "en-us")))

    assert "θɹˈiː pɔɪnt fˈaɪv" in spoken
    assert "θˈaʊzənd" in spoken


async def test_an_unknown_language_is_an_engine_error(phonemizer: Phonemizer) -> None:
    with pytest.raises(EngineError):
        await phonemizer.phonemes("hello", "xx-none")

    assert await phonemizer.phonemes("hello", "en-us") != []


async def test_a_text_over_the_limit_is_refused(phonemizer: Phonemizer) -> None:
    with pytest.raises(EngineError, match="over the limit"):
        await phonemizer.phonemes("a" * (MAX_CHARACTERS + 1), "en-us")


def test_language_switches_and_silent_sentences_are_left_out() -> None:
    clauses = [Clause("(fr)ʒˈuʁ(en) dˈeɪ", ",", False), Clause("ˈe\u0303", ".", True), Clause("", "", True)]

    assert joined(sentences(clauses)) == ["ʒˈuʁ dˈeɪ, ˈe\u0303."]


async def test_a_child_that_is_killed_is_replaced_on_the_next_text() -> None:
    phonemizer = scripted(ECHO)
    await phonemizer.phonemes("one", "en")
    first = phonemizer.process_id
    assert first is not None

    os.kill(first, signal.SIGKILL)

    assert joined(await phonemizer.phonemes("two", "en")) == ["two."]
    assert phonemizer.process_id not in (None, first)
    await phonemizer.aclose()


async def test_a_text_the_child_dies_of_is_tried_twice_and_harms_no_other() -> None:
    phonemizer = scripted("""
say({"ready": True})
for line in sys.stdin:
    request = json.loads(line)
    if request["text"] == "poison":
        sys.exit(1)
    say({"id": request["id"], "clauses": [[request["text"], ".", True]]})
""")
    with pytest.raises(EngineError, match="died twice"):
        await phonemizer.phonemes("poison", "en")

    assert joined(await phonemizer.phonemes("water", "en")) == ["water."]
    await phonemizer.aclose()


async def test_a_child_that_hangs_is_killed_and_the_next_text_answered() -> None:
    phonemizer = scripted(
        """
say({"ready": True})
for line in sys.stdin:
    request = json.loads(line)
    if request["text"] == "hang":
        time.sleep(60)
    say({"id": request["id"], "clauses": [[request["text"], ".", True]]})
""",
        answer_s=0.3,
    )
    with pytest.raises(EngineTimeout):
        await phonemizer.phonemes("hang", "en")

    assert joined(await phonemizer.phonemes("go on", "en")) == ["go on."]
    await phonemizer.aclose()


async def test_a_caller_that_leaves_does_not_spoil_the_next_ones_answer(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    phonemizer = scripted(f"""
say({{"ready": True}})
for line in sys.stdin:
    request = json.loads(line)
    if request["text"] == "first":
        open({str(gate)!r}).read()
    say({{"id": request["id"], "clauses": [[request["text"], ".", True]]}})
""")
    await phonemizer.phonemes("start", "en")
    async with anyio.create_task_group() as group:
        group.start_soon(phonemizer.phonemes, "first", "en")
        writer = await anyio.to_thread.run_sync(open, gate, "w")  # returns once the child has read "first"
        group.cancel_scope.cancel()
    writer.close()

    assert joined(await phonemizer.phonemes("second", "en")) == ["second."]
    await phonemizer.aclose()


@pytest.mark.parametrize(
    "program",
    [
        "sys.exit(3)",
        'say({"error": "no such library"})',
        'print("Segmentation fault")',
        'print("[1, 2]")',
        'print("x" * 2_000_000)',
    ],
)
async def test_a_child_that_does_not_start_makes_the_engine_unavailable_and_tells_how_to_mend_it(program: str) -> None:
    phonemizer = scripted(program, first_pause_s=30.0)

    with pytest.raises(EngineUnavailable, match="pip install"):
        await phonemizer.phonemes("hello", "en")
    with pytest.raises(EngineUnavailable, match="next try"):
        await phonemizer.phonemes("hello", "en")
    assert phonemizer.process_id is None


async def test_a_program_that_does_not_exist_makes_the_engine_unavailable() -> None:
    with pytest.raises(EngineUnavailable):
        await PhonemizerProcess(["/nowhere/at-all"]).phonemes("hello", "en")
    with pytest.raises(EngineUnavailable):
        await EspeakProgram("/nowhere/at-all").phonemes("hello", "en")


async def test_a_reply_that_makes_no_sense_is_an_engine_error() -> None:
    phonemizer = scripted("""
say({"ready": True})
for line in sys.stdin:
    say({"id": json.loads(line)["id"], "clauses": [["only one"]]})
""")
    with pytest.raises(EngineError, match="not understood"):
        await phonemizer.phonemes("hello", "en")
    await phonemizer.aclose()


async def test_no_more_than_the_allowed_number_of_texts_wait() -> None:
    phonemizer = scripted('say({"ready": True}); sys.stdin.read()', max_waiting=2)
    async with anyio.create_task_group() as group:
        group.start_soon(phonemizer.phonemes, "one", "en")
        group.start_soon(phonemizer.phonemes, "two", "en")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(EngineOverloaded):
            await phonemizer.phonemes("three", "en")
        group.cancel_scope.cancel()
    await phonemizer.aclose()


async def test_closing_ends_the_child_and_refuses_further_texts() -> None:
    phonemizer = scripted(ECHO)
    await phonemizer.phonemes("one", "en")
    child = phonemizer.process_id
    assert child is not None

    await phonemizer.aclose()

    assert not psutil.pid_exists(child)
    with pytest.raises(EngineUnavailable):
        await phonemizer.phonemes("two", "en")


async def test_closing_kills_a_child_that_ignores_the_end_of_its_input() -> None:
    phonemizer = scripted(ECHO + "\ntime.sleep(60)", close_s=0.2)
    await phonemizer.phonemes("one", "en")
    child = phonemizer.process_id
    assert child is not None

    await phonemizer.aclose()

    assert not psutil.pid_exists(child)


@pytest.mark.engines
@pytest.mark.skipif(not HAS_PIPER, reason="piper-tts is not installed")
async def test_the_worker_outlives_ctrl_c_and_ends_with_its_parent() -> None:
    worker = Path(find.__file__).with_name("worker.py")
    parent = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-P", {str(worker)!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
    process = await anyio.open_process([sys.executable, "-c", parent])
    assert process.stdout is not None
    child = psutil.Process(int(await process.stdout.receive()))

    child.send_signal(signal.SIGINT)
    assert child.is_running()
    process.kill()
    await process.aclose()

    await anyio.to_thread.run_sync(psutil.wait_procs, [child], 10.0)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_machine_without_any_phonemizer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(find.shutil, "which", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]

    with pytest.raises(EngineUnavailable, match="espeak-ng"):
        find.find_phonemizer()
