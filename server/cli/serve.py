"""``convergio-voice serve``: run the server in the foreground and say what to open and what answers.

Draws progress while engines load, on terminals only; everything afterwards is the log's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from server.engines import StageReport
    from server.serving import RunningServer
    from server.settings import Settings


@click.command("serve")
@click.option("--host", help="Address to listen on. Default: 127.0.0.1")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 for any free one. Default: 8080")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the usage ledger lives.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def command(config: Path | None, log_level: str | None, **given: Any) -> int:
    """Start the server."""
    from server.settings import load_settings, prepare_process_environment  # noqa: PLC0415 - commands import late

    prepare_process_environment()
    if log_level is not None:
        given["log"] = {"level": log_level}
    settings = load_settings(config, **given)

    import uvloop  # noqa: PLC0415

    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    from server.app import Application  # noqa: PLC0415
    from server.cli.console import console  # noqa: PLC0415
    from server.cli.first_key import first_key  # noqa: PLC0415
    from server.listening import listen  # noqa: PLC0415
    from server.observability.logs import configure_logging  # noqa: PLC0415
    from server.serving import running, serve_until_signalled  # noqa: PLC0415

    configure_logging(settings.log)
    out = console()
    listener = listen(settings.host, settings.port)
    progress = _Progress(console(err=True))
    application = Application(settings, on_report=progress.show)
    async with running(application, listener) as server:
        with progress:
            await application.wait_ready()
        _announce(out, server, application.reports())
        await first_key(out, settings, application.host.offices.identity)
        await serve_until_signalled(application, server)


class _Progress:
    """A spinner with the stage that loads, where there is a terminal."""

    def __init__(self, console: Console) -> None:
        self._status = console.status("loading the engines") if console.is_terminal else None

    def __enter__(self) -> None:
        if self._status is not None:
            self._status.start()

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, report: StageReport) -> None:
        """A stage has got somewhere."""
        if self._status is not None:
            self._status.update(f"loading the engines ({report.stage}: {report.words})")


def _announce(out: Console, server: RunningServer, reports: tuple[StageReport, ...]) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from server.version import __version__  # noqa: PLC0415

    out.print(f"[bold]Convergio Voice {__version__}[/bold]  open [bold cyan]{server.url}[/bold cyan]")
    table = Table(box=None, show_header=False, padding=(0, 1))
    for report in reports:
        style = {"ready": "green", "degraded": "yellow", "missing": "red"}.get(report.status, "dim")
        loaded = "" if report.load_ms is None else f"{report.load_ms / 1_000:.1f} s"
        table.add_row(report.stage, f"[{style}]{report.status}[/{style}]", escape(report.name), loaded)
    out.print(table)
    for report in reports:
        if report.reason is not None:
            out.print(f"[yellow]{report.stage}:[/yellow] {escape(report.reason)}")
