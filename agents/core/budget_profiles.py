"""The latency budgets that come with the server: one file each, beside this module.

Owns their form and that a file is whole; what a budget means is told in ``agents.core.budget``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, cast, get_args

from agents.core.budget import ACTIONS, STAGES, Action, BudgetError, LatencyBudget, Stage, StageBudget, StageChange

Profile = Literal["embedded", "azure", "telephony", "accessibility"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)


@cache
def profile(name: Profile) -> LatencyBudget:
    """The budget of a profile. Raises BudgetError, naming file and key, where its file is not whole."""
    file = f"{name}.toml"
    text = files("agents.core").joinpath("budgets", file).read_text(encoding="utf-8")
    return parse(text, name)


def parse(text: str, name: str) -> LatencyBudget:
    """A budget's file: its ``version`` and a table per stage. Raises BudgetError."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BudgetError(f"{name}: {error}") from error
    version = tables.pop("version", None)
    if not isinstance(version, int) or version < 1:
        raise BudgetError(f"{name}: version must be a whole number from 1 on")
    changes = stage_changes(tables)
    stages: dict[Stage, StageBudget] = {}
    for stage, change in changes.items():
        if change.target_ms is None or change.deadline_ms is None:
            raise BudgetError(f"{name}: [{stage}] needs target_ms and deadline_ms")
        stages[stage] = StageBudget(change.target_ms, change.deadline_ms, change.on_breach or ())
    return LatencyBudget(name, str(version), stages)


def stage_changes(tables: dict[str, Any]) -> dict[Stage, StageChange]:
    """What tables of a file, a setting or a message say of stages. Raises BudgetError."""
    unknown = sorted(set(tables) - set(STAGES))
    if unknown:
        raise BudgetError(f"{', '.join(unknown)}: there is no such stage (stages: {', '.join(STAGES)})")
    return {cast(Stage, stage): _change(stage, table) for stage, table in tables.items()}


def _change(stage: str, table: object) -> StageChange:
    values = cast(dict[str, object], table) if isinstance(table, dict) else {"": table}
    unknown = sorted(set(values) - {"target_ms", "deadline_ms", "on_breach"})
    if unknown:
        raise BudgetError(f"{stage}: only target_ms, deadline_ms and on_breach can be set, not {', '.join(unknown)}")
    return StageChange(
        _whole(f"{stage}.target_ms", values.get("target_ms")),
        _whole(f"{stage}.deadline_ms", values.get("deadline_ms")),
        _actions(f"{stage}.on_breach", values.get("on_breach")),
    )


def _whole(where: str, value: object) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise BudgetError(f"{where} must be a whole number of milliseconds")
    return value


def _actions(where: str, value: object) -> tuple[Action, ...] | None:
    if value is None:
        return None
    known = {action for actions in ACTIONS.values() for action in actions}
    named = cast(list[object], value) if isinstance(value, list | tuple) else [value]
    if any(action not in known for action in named):
        raise BudgetError(f"{where} must list actions (of {', '.join(sorted(known))})")
    return tuple(cast(Action, action) for action in named)
