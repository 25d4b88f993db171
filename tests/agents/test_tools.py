"""Tools: schemas from signatures, checked arguments, limits, and nothing that raises."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from agents.errors import ToolError
from agents.models.port import ToolRequest
from agents.tools import runner as runner_module
from agents.tools.builtin import builtin_tools, find_zone
from agents.tools.calculator import calculate
from agents.tools.runner import MAX_OUTPUT_BYTES, ToolOutcome, ToolRunner
from agents.tools.tool import Tool, tool


@tool(effects=False)
async def lamp(room: str, level: Annotated[int, Field(ge=0, le=100)] = 50, mode: Literal["on", "off"] = "on") -> str:
    """Set the lamp of a room.

    And more about it.

    Args:
        room: which room, such as
            "kitchen".
        level: how bright, in percent.

    Returns:
        what it did.
    """
    return f"{room} {mode} {level}"


def certain() -> anyio.Event:
    event = anyio.Event()
    event.set()
    return event


async def run(subject: Tool, arguments: str = "{}", committed: anyio.Event | None = None) -> ToolOutcome:
    request = ToolRequest("c", subject.name, arguments)
    return await ToolRunner((subject,)).run(request, committed or certain())


def test_the_schema_comes_from_the_signature_and_the_docstring() -> None:
    assert lamp.spec.name == "lamp"
    assert lamp.spec.description == "Set the lamp of a room. And more about it."
    schema = lamp.spec.parameters
    assert schema["type"] == "object"
    assert schema["required"] == ["room"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["room"] == {"type": "string", "description": 'which room, such as "kitchen".'}
    assert schema["properties"]["level"]["maximum"] == 100
    assert schema["properties"]["mode"]["enum"] == ["on", "off"]
    assert "title" not in json.dumps(schema)


async def test_arguments_are_checked_and_defaults_filled_in() -> None:
    outcome = await run(lamp, '{"room": "kitchen"}')
    assert outcome == ToolOutcome('"kitchen on 50"', False, outcome.duration_ms)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("{}", "room"),
        ('{"room": "x", "level": 200}', "level"),
        ('{"room": "x", "other": 1}', "other"),
        ("not json", "JSON"),
        ("[1]", "object"),
        ('{"room": "' + "x" * 20_000 + '"}', "too long"),
    ],
)
async def test_wrong_arguments_are_explained_to_the_model(arguments: str, complaint: str) -> None:
    outcome = await run(lamp, arguments)
    assert outcome.error
    assert complaint in json.loads(outcome.output)["error"]


async def test_an_unknown_tool_is_an_error_and_no_exception() -> None:
    outcome = await ToolRunner(()).run(ToolRequest("c", "nothing", "{}"), certain())
    assert outcome.error
    assert "nothing" in outcome.output


async def test_a_failing_tool_tells_nothing_of_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    @tool(effects=False)
    async def broken() -> None:
        """Break."""
        raise RuntimeError("password=hunter2")

    outcome = await run(broken)
    assert outcome.error
    assert "hunter2" not in outcome.output
    assert "tool failed" in caplog.text


async def test_a_tools_own_complaint_reaches_the_model() -> None:
    @tool(effects=False)
    async def picky() -> None:
        """Complain."""
        raise ToolError("There is no such city.")

    assert json.loads((await run(picky)).output) == {"error": "There is no such city."}


async def test_a_slow_tool_is_given_up_at_its_limit() -> None:
    @tool(effects=False, limit_s=0.02)
    async def slow() -> None:
        """Wait for ever."""
        await anyio.sleep_forever()

    outcome = await run(slow)
    assert outcome.error
    assert "0.02 seconds" in outcome.output


async def test_blocking_tools_run_beside_the_event_loop_and_are_given_up_too() -> None:
    release = threading.Event()

    @tool(effects=False, limit_s=0.02)
    def blocking() -> str:
        """Block."""
        release.wait(10)
        return threading.current_thread().name

    assert (await run(blocking)).error
    release.set()

    @tool(effects=False)
    def quick() -> str:
        """Say which thread."""
        return threading.current_thread().name

    outcome = await run(quick)
    assert not outcome.error
    assert json.loads(outcome.output) != threading.current_thread().name


async def test_stuck_threads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "MAX_THREADS", 1)
    release, stuck = threading.Event(), threading.Event()

    @tool(effects=False, limit_s=0.05)
    def blocking() -> None:
        """Block."""
        stuck.set()
        release.wait(10)

    tools = ToolRunner((blocking,))
    request = ToolRequest("c", "blocking", "{}")
    assert "did not answer" in (await tools.run(request, certain())).output
    assert stuck.is_set()
    assert "Too many tools" in (await tools.run(request, certain())).output
    release.set()


async def test_effects_wait_until_the_turn_is_certain() -> None:
    done: list[str] = []

    @tool()
    async def effect() -> str:
        """Do something."""
        done.append("effect")
        return "done"

    committed = anyio.Event()
    outcomes: list[ToolOutcome] = []

    async def in_background() -> None:
        outcomes.append(await run(effect, committed=committed))

    async with anyio.create_task_group() as group:
        group.start_soon(in_background)
        await anyio.wait_all_tasks_blocked()
        assert done == []
        committed.set()
    assert done == ["effect"]
    assert not outcomes[0].error


async def test_an_abandoned_draft_leaves_no_effect() -> None:
    done: list[str] = []

    @tool()
    async def effect() -> None:
        """Do something."""
        done.append("effect")

    async with anyio.create_task_group() as group:
        group.start_soon(run, effect, "{}", anyio.Event())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert done == []


@pytest.mark.parametrize("value", ["x" * 100_000, "\n😀" * 30_000, ["é"] * 20_000])
async def test_output_is_bounded_and_still_json(value: Any) -> None:
    @tool(effects=False)
    async def chatty() -> Any:
        """Say a lot."""
        return value

    outcome = await run(chatty)
    assert len(outcome.output.encode()) <= MAX_OUTPUT_BYTES
    assert json.loads(outcome.output)["truncated"] is True


async def test_an_answer_that_is_no_json_is_an_error() -> None:
    @tool(effects=False)
    async def odd() -> Any:
        """Answer with an object."""
        return threading.Lock()

    assert (await run(odd)).error


def test_functions_that_make_no_tool_are_refused() -> None:
    def untyped(x) -> None:  # type: ignore[no-untyped-def]
        """Do."""

    def silent(x: int) -> None: ...

    def starred(*x: int) -> None:
        """Do."""

    for function in (untyped, silent, starred):
        with pytest.raises(TypeError):
            tool()(function)
    with pytest.raises(TypeError):
        tool(name="no spaces please")(lamp.function)
    with pytest.raises(ValueError, match="same name"):
        ToolRunner((lamp, lamp))


# --- built in ---

NOON = datetime(2026, 3, 5, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "time", "date"),
    [
        ("{}", "12:30", "2026-03-05"),
        ('{"place": "Tokyo"}', "21:30", "2026-03-05"),
        ('{"place": "Europe/Rome"}', "13:30", "2026-03-05"),
        ('{"place": "the UK"}', "12:30", "2026-03-05"),
        ('{"place": "São Paulo"}', "09:30", "2026-03-05"),
        ('{"place": "new york"}', "07:30", "2026-03-05"),
    ],
)
async def test_the_time_is_told_here_and_elsewhere(arguments: str, time: str, date: str) -> None:
    clock, _ = builtin_tools(lambda: NOON)
    answer = json.loads((await run(clock, arguments)).output)
    assert (answer["time"], answer["date"], answer["weekday"]) == (time, date, "Thursday")


def test_a_place_nobody_knows_is_a_complaint() -> None:
    for place in ("Atlantis", "../../etc/passwd", ""):
        with pytest.raises(ToolError):
            find_zone(place)


async def test_built_in_tools_are_read_only() -> None:
    assert [subject.effects for subject in builtin_tools()] == [False, False]
    _, calculator = builtin_tools()
    assert (await run(calculator, '{"expression": "12 * 7"}')).output == '{"result":"84"}'


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12 * 7", "84"),
        ("2+2*3", "8"),
        ("(2+2)*3", "12"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2^-1", "0.5"),
        ("0.1 + 0.2", "0.3"),
        ("15% of 80", "12"),
        ("10 % 3", "1"),
        ("7 // 2", "3"),
        ("1,000 × 2 ÷ 4 =", "500"),
        ("sqrt(144) + √ 4", "14"),
        ("1/3", "0.333333333333"),
        ("50%", "0.5"),
        ("10 - 4 - 3", "3"),
        ("100 / 10 / 5", "2"),
        ("2 * pi", "6.28318530718"),
    ],
)
def test_arithmetic(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1/0",
        "0^-1",
        "9^99999",
        "(1",
        "1)",
        "1 +",
        "__import__('os')",
        "a.b",
        "sqrt(-1)",
        "1" * 300,
        "(" * 60,
        "9^999^9",
    ],
)
def test_what_is_no_arithmetic_is_a_complaint(expression: str) -> None:
    with pytest.raises(ToolError):
        calculate(expression)


@given(st.text("0123456789+-*/%^()., piesqrtof", max_size=60))
def test_any_expression_has_a_value_or_a_complaint(expression: str) -> None:
    try:
        value = calculate(expression)
    except ToolError:
        return
    float(value)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from("+-*"))
def test_whole_numbers_are_exact(left: int, right: int, operator: str) -> None:
    expected = {"+": left + right, "-": left - right, "*": left * right}[operator]
    assert calculate(f"{left} {operator} ({right})") == str(expected)
