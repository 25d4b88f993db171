"""``convergio-voice budgets``: the latency budgets of this machine's settings, as ``GET /v1/latency-budgets`` has them.

Reads the settings only: no engine is loaded and no server asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from server.contracts.latency_budget import LatencyBudgetList


@click.command("budgets")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--tenant", default="default", show_default=True, help="For sessions of this tenant.")
@click.option("--locale", default="en-US", show_default=True, help="For sessions in this language.")
@click.option("--patient", is_flag=True, help="For speakers who need more time (accessibility.patience).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def command(config: Path | None, tenant: str, locale: str, *, patient: bool, as_json: bool) -> int:
    """Show how long turns may take, and what is done when they take longer."""
    from server.budget_view import budget_list  # noqa: PLC0415 - commands import late
    from server.cli.console import print_json  # noqa: PLC0415
    from server.engine_rules import Asked  # noqa: PLC0415
    from server.latency_choice import LatencyChoice  # noqa: PLC0415
    from server.settings import load_settings  # noqa: PLC0415
    from server.speech_settings import AGENT_ID  # noqa: PLC0415
    from server.tenant_settings import RESERVED  # noqa: PLC0415

    settings = load_settings(config)
    if tenant not in {*RESERVED, *(each.id for each in settings.tenants)}:
        raise click.ClickException(f"There is no tenant called {tenant}.")
    shown = budget_list(LatencyChoice(settings), Asked(tenant, AGENT_ID, locale), "budgets", patient=patient)
    if as_json:
        print_json(shown.model_dump(mode="json", exclude={"request_id"}))
    else:
        _show(shown)
    return 0


def _show(shown: LatencyBudgetList) -> None:
    from rich.table import Table  # noqa: PLC0415

    from server.cli.console import console  # noqa: PLC0415

    out, default = console(), shown.default
    enforced = "enforced" if shown.enforced else "not enforced"
    drafts = "drafts before a turn is certain" if shown.speculates else "no drafts"
    out.print(f"{default.profile} {default.version}: {enforced}, {drafts}. Milliseconds.", markup=False)
    table = Table(box=None, padding=(0, 1))
    for title in ("stage", "target", "deadline", "clients may ask for", "when it is late"):
        table.add_column(title, justify="left" if title in {"stage", "when it is late"} else "right")
    for stage, budget in default.stages.items():
        may = shown.permitted[stage]
        table.add_row(
            stage,
            str(budget.target_ms),
            str(budget.deadline_ms),
            f"{may.shortest_deadline_ms}-{may.longest_deadline_ms}",
            ", ".join(budget.on_breach) or "told",
        )
    out.print(table)
    out.print("\nEvery profile, target/deadline:")
    profiles = Table(box=None, padding=(0, 1))
    profiles.add_column("stage")
    for each in shown.profiles:
        profiles.add_column(f"{each.profile} {each.version}", justify="right")
    for stage in default.stages:
        limits = (each.stages[stage] for each in shown.profiles)
        profiles.add_row(stage, *(f"{limit.target_ms}/{limit.deadline_ms}" for limit in limits))
    out.print(profiles)
