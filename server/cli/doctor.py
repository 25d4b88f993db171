"""``convergio-voice doctor``: check this installation, and say how to mend whatever is wrong.

Exit code 1 if anything stands in the way of a conversation, 0 otherwise (warnings alone do not count).
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path

import click


@click.command("doctor")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
def command(config: Path | None, *, as_json: bool) -> int:
    """Check this installation and say how to mend what is wrong."""
    from server.cli.console import console, print_json  # noqa: PLC0415 - commands import late
    from server.cli.examination import examine  # noqa: PLC0415
    from server.settings import prepare_process_environment  # noqa: PLC0415

    prepare_process_environment()
    findings = asyncio.run(examine(config))
    healthy = all(finding.verdict != "wrong" for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(finding) for finding in findings]})
        return 0 if healthy else 1
    out = console()
    marks = {"ok": "[green]ok[/green]   ", "note": "[yellow]note[/yellow] ", "wrong": "[red]wrong[/red]"}
    for finding in findings:
        out.print(f"{marks[finding.verdict]} [bold]{finding.what}[/bold]", end="  ")
        out.print(finding.found, markup=False)
        if finding.mend:
            out.print(f"      {finding.mend}", markup=False, style="dim")
    out.print(
        "Everything needed for a conversation is there." if healthy else "Something stands in the way; see above."
    )
    return 0 if healthy else 1
