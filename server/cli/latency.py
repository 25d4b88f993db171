"""``convergio-voice latency``: where the milliseconds went, by stage and turn by turn.

Reads the ledger of this machine, or asks a running server (``--url``): the answer is the same. Drawing is
``server.cli.latency_table``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from server.contracts.latency import LatencyReportResponse
    from server.latency_view import LatencyQuestion
    from server.settings import Settings

DEFAULT_TURNS: Final = 3
MOST_TURNS: Final = 50
ASK_LIMIT_S: Final = 15.0
_REFUSED_FROM: Final = 400


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the turns are: a server, or (no ``url``) this machine's ledger."""

    url: str | None
    api_key: str | None


@click.command("latency")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the usage ledger lives.")
@click.option("--url", help="Ask this running server instead of reading the ledger.")
@click.option("--api-key", help="Its API key, where it wants one. Default: the first of the settings.")
@click.option("--since", default="24h", show_default=True, help="A span (90m, 24h, 7d) or a moment (RFC 3339).")
@click.option("--stage", help="This stage only: endpoint, stt, agent, tts, egress, total.")
@click.option("--agent", help="Turns of this agent only.")
@click.option("--transport", help="Turns that came this way only, such as websocket or webrtc.")
@click.option(
    "--turns",
    type=click.IntRange(0, MOST_TURNS),
    default=DEFAULT_TURNS,
    show_default=True,
    help="So many of the newest turns, drawn one by one.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def command(  # noqa: PLR0913 - click gives each option by name
    *,
    config: Path | None,
    data_dir: Path | None,
    url: str | None,
    api_key: str | None,
    since: str,
    stage: str | None,
    agent: str | None,
    transport: str | None,
    turns: int,
    as_json: bool,
) -> int:
    """Show where the milliseconds of turns went."""
    from server.cli.console import console, print_json  # noqa: PLC0415 - commands import late
    from server.cli.latency_table import show  # noqa: PLC0415
    from server.latency_view import BadFilter, LatencyQuestion  # noqa: PLC0415
    from server.settings import load_settings  # noqa: PLC0415

    settings = load_settings(config, data_dir=data_dir)
    question = LatencyQuestion(since, stage, agent, transport, turns)
    try:
        report = _ask(_Source(url, api_key), question, settings) if url else _read(question, settings)
    except BadFilter as error:
        raise click.ClickException(f"{str(error)[0].upper()}{str(error)[1:]}") from error
    if as_json:
        print_json(report.model_dump(mode="json", exclude_none=True))
    else:
        show(console(), report)
    return 0


def _read(question: LatencyQuestion, settings: Settings) -> LatencyReportResponse:
    import time  # noqa: PLC0415

    from server.latency_choice import LatencyChoice  # noqa: PLC0415
    from server.latency_view import asked_about, read_report  # noqa: PLC0415
    from server.ledgers import open_ledger  # noqa: PLC0415
    from server.tenant_settings import DEFAULT_TENANT  # noqa: PLC0415

    path = settings.ledger_path
    if settings.ledger.url is None and not path.is_file():
        raise click.ClickException(f"Nothing was used yet: there is no ledger at {path}.")
    ledger = open_ledger(settings)
    try:
        now_ms = time.time_ns() // 1_000_000
        budget = LatencyChoice(settings).operators(asked_about(question, DEFAULT_TENANT))
        return read_report(ledger, question, budget, tenant_id=None, request_id="local", now_ms=now_ms + 1)
    finally:
        ledger.close()


def _ask(source: _Source, question: LatencyQuestion, settings: Settings) -> LatencyReportResponse:
    import httpx  # noqa: PLC0415

    from server.contracts.latency import LatencyReportResponse  # noqa: PLC0415

    key = source.api_key
    if key is None and settings.api_keys:
        key = settings.api_keys[0].get_secret_value()
    asked = {"since": question.since, "stage": question.stage, "agent": question.agent_id}
    asked |= {"transport": question.transport, "turns": str(question.turns)}
    try:
        answer = httpx.get(
            f"{(source.url or '').rstrip('/')}/v1/latency/report",
            params={name: value for name, value in asked.items() if value is not None},
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=ASK_LIMIT_S,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise click.ClickException(f"{source.url} cannot be asked: {error}.") from error
    if answer.status_code >= _REFUSED_FROM:
        raise click.ClickException(_refusal(answer))
    return LatencyReportResponse.model_validate_json(answer.content)


def _refusal(answer: object) -> str:
    """The server's own sentence, where it is one."""
    import httpx  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    from server.contracts.errors import ErrorBody  # noqa: PLC0415

    assert isinstance(answer, httpx.Response)
    try:
        return ErrorBody.model_validate_json(answer.content).error.message
    except ValidationError:
        return f"The server answered with status {answer.status_code}."
