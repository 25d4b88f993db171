"""``convergio-voice privacy``: people's data exported and deleted, retention, legal holds, consents, purges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from server.cli.office_client import OfficeClient

Work = Callable[["OfficeClient"], Awaitable[Any]]


@click.group("privacy")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file. Default: convergio.toml if it exists")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the records and the ledger live.")
@click.option("--url", help="Ask this running server instead of this machine's records.")
@click.option("--api-key", help="Its API key, where it wants one. Default: the first of the settings.")
@click.option("--tenant", help="Of this tenant. Default: one's own (without keys: local).")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    config: Path | None,
    data_dir: Path | None,
    url: str | None,
    api_key: str | None,
    tenant: str | None,
) -> None:
    """Export and delete people's data, and say how long data is kept."""
    ctx.obj = {"config": config, "data_dir": data_dir, "url": url, "api_key": api_key, "tenant": tenant}


@command.command("export")
@click.argument("user_id", required=False)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The ZIP to write.")
@click.pass_context
def export(ctx: click.Context, user_id: str | None, output: Path) -> int:
    """Write everything that is kept of a person (yourself, without USER_ID) into a ZIP."""
    if output.exists():
        raise click.ClickException(f"{output} is there already.")

    async def work(office: OfficeClient) -> Any:
        job = await office.job("export", {"user_id": user_id, "tenant_id": ctx.obj["tenant"]})
        if job["state"] != "finished":
            raise click.ClickException(f"The export {job['state']}: {job['result'].get('reason', '')}")
        await office.save(job["download"], output)
        return job["result"]

    result = _run(ctx, work)
    counts = ", ".join(f"{count} {name}" for name, count in result["counts"].items())
    click.echo(f"{output}: {result['bytes']} bytes, sha256 {result['sha256']}")
    click.echo(counts)
    return 0


@command.command("delete")
@click.argument("user_id", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, user_id: str | None, *, yes: bool) -> int:
    """Delete a person (yourself, without USER_ID): conversations go, usage gets a pseudonym."""
    if not yes:
        click.confirm(f"Delete everything that is kept of {user_id or 'yourself'}?", abort=True)
    tenant = ctx.obj["tenant"]
    job = _run(ctx, lambda office: office.job("delete", {"user_id": user_id, "tenant_id": tenant}))
    pseudonym = job["result"].get("pseudonym")
    if job["state"] == "held":
        kept = ", ".join(job["result"].get("sessions_held") or job["result"].get("holds", ()))
        click.echo(f"Legal holds keep {kept}; the rest is deleted." if pseudonym else f"Held: {kept}.")
        return 1
    click.echo(f"Deleted. Usage is kept under {pseudonym}.")
    return 0


@command.command("policy")
@click.option("--conversations", "days", type=int, help="Days conversations are kept.")
@click.option("--usage", "months", type=int, help="Months usage events are kept.")
@click.option("--store/--no-store", default=None, help="Whether conversations are stored at all.")
@click.option("--default", "reset", is_flag=True, help="Leave all of it to the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.pass_context
def policy(
    ctx: click.Context, *, days: int | None, months: int | None, store: bool | None, reset: bool, as_json: bool
) -> int:
    """Show how long data is kept, or choose it. What is not named stays as it was chosen."""
    tenant = ctx.obj["tenant"]

    async def work(office: OfficeClient) -> Any:
        path = "/v1/privacy/policy"
        given = {"conversation_days": days, "usage_months": months, "store": store}
        before = await office.ask("GET", path, tenant=tenant)
        if not reset and all(value is None for value in given.values()):
            return before
        kept = {} if reset else {name: before[name] for name in before["chosen"]}
        chosen = {name: value for name, value in given.items() if value is not None}
        return await office.ask("POST", path, {"tenant_id": tenant, **kept, **chosen})

    told = _run(ctx, work)
    if as_json:
        _print(told)
        return 0
    click.echo(f"{told['tenant_id']} ({told['tenant_type']})")
    for name, words in (("conversation_days", "conversations, days"), ("usage_months", "usage, months")):
        span, whose = told["permitted"][name], "chosen" if name in told["chosen"] else "default"
        click.echo(f"  {words:20} {told[name]:5}  {whose}; {span['least']} to {span['most']} may be chosen")
    click.echo(f"  conversations are {'stored' if told['store'] else 'not stored'}")
    click.echo(f"  recording is {'possible, with consent' if told['recording'] else 'off'}")
    return 0


@command.command("purge")
@click.option("--everybody", is_flag=True, help="Of every tenant.")
@click.pass_context
def purge(ctx: click.Context, *, everybody: bool) -> int:
    """Take out now what is older than the policy says (a running server does so by itself)."""
    body = {"tenant_id": ctx.obj["tenant"], "everybody": everybody}
    told = _run(ctx, lambda office: office.ask("POST", "/v1/privacy/purge", body))
    for kind in ("conversations", "usage_events"):
        for tenant_id, count in sorted(told[kind].items()):
            click.echo(f"{tenant_id}: {count} {kind.replace('_', ' ')}")
    if not (told["conversations"] or told["usage_events"]):
        click.echo("Nothing was due.")
    for tenant_id in told["held_tenants"]:
        click.echo(f"{tenant_id}: usage events stay, because something of it is held", err=True)
    return 0


@command.group("hold")
def hold() -> None:
    """Legal holds: what may be neither purged nor deleted."""


@hold.command("list")
@click.pass_context
def hold_list(ctx: click.Context) -> int:
    """Show the holds, lifted ones too."""
    tenant = ctx.obj["tenant"]
    for told in _run(ctx, lambda office: office.ask("GET", "/v1/privacy/holds", tenant=tenant))["holds"]:
        on = told.get("session_id") or told.get("user_id") or f"all of {told['tenant_id']}"
        click.echo(f"{told['hold_id']}  {on}  {'lifted' if 'lifted_at_ms' in told else 'stands'}  {told['reason']}")
    return 0


@hold.command("place")
@click.option("--user", help="On this person's data.")
@click.option("--session", help="On this conversation.")
@click.option("--reason", required=True, help="Why.")
@click.pass_context
def hold_place(ctx: click.Context, *, user: str | None, session: str | None, reason: str) -> int:
    """Place a hold; with neither --user nor --session on all of the tenant's data."""
    body = {"tenant_id": ctx.obj["tenant"], "user_id": user, "session_id": session, "reason": reason}
    click.echo(_run(ctx, lambda office: office.ask("POST", "/v1/privacy/holds", body))["hold_id"])
    return 0


@hold.command("lift")
@click.argument("hold_id")
@click.pass_context
def hold_lift(ctx: click.Context, hold_id: str) -> int:
    """Lift a hold."""
    tenant = ctx.obj["tenant"]
    _run(ctx, lambda office: office.ask("DELETE", f"/v1/privacy/holds/{hold_id}", tenant=tenant))
    click.echo(f"{hold_id} is lifted.")
    return 0


@command.command("consents")
@click.argument("user_id", required=False)
@click.pass_context
def consents(ctx: click.Context, user_id: str | None) -> int:
    """Show who agreed to be recorded, and to which words."""
    tenant = ctx.obj["tenant"]
    answer = _run(ctx, lambda office: office.ask("GET", "/v1/privacy/consents", user=user_id, tenant=tenant))
    for told in answer["consents"]:
        state = "withdrawn" if "withdrawn_at_ms" in told else "stands"
        click.echo(f"{told['consent_id']}  {told['user_id']}  {state}  {told['wording_version']}  {told['wording']}")
    return 0


@command.command("conversations")
@click.option("--user", help="Of this person.")
@click.option("--show", "session_id", help="One conversation, word by word.")
@click.option("--delete", "delete_id", help="Delete one conversation.")
@click.option("--recording", "recording_id", help="Write the sound of one conversation into --output.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The WAV to write.")
@click.pass_context
def conversations(
    ctx: click.Context,
    *,
    user: str | None,
    session_id: str | None,
    delete_id: str | None,
    recording_id: str | None,
    output: Path | None,
) -> int:
    """Show stored conversations, newest first; one of them in words or as sound; or delete one."""
    tenant = ctx.obj["tenant"]
    if recording_id is not None:
        return _save_recording(ctx, recording_id, output)
    if delete_id is not None:
        _run(ctx, lambda office: office.ask("DELETE", f"/v1/sessions/{delete_id}"))
        click.echo(f"{delete_id} is deleted.")
    elif session_id is not None:
        for entry in _run(ctx, lambda office: office.ask("GET", f"/v1/sessions/{session_id}"))["entries"]:
            click.echo(f"{entry['speaker']}: {entry['text']}{' —' if entry['interrupted'] else ''}")
    else:
        from metering.report import timestamp  # noqa: PLC0415 - commands import late

        answer = _run(ctx, lambda office: office.ask("GET", "/v1/sessions", user=user, tenant=tenant))
        for told in answer["conversations"]:
            lost = f"  {told['lost']} lost" if told["lost"] else ""
            sound = "  recorded" if "recording" in told else ""
            click.echo(f"{timestamp(told['started_at_ms'])}  {told['session_id']}  {told['user_id']}{lost}{sound}")
    return 0


def _save_recording(ctx: click.Context, session_id: str, output: Path | None) -> int:
    if output is None:
        raise click.UsageError("--recording needs --output: the WAV to write.")
    if output.exists():
        raise click.ClickException(f"{output} is there already.")
    _run(ctx, lambda office: office.save(f"/v1/sessions/{session_id}/recording", output))
    click.echo(f"{output}: {output.stat().st_size} bytes")
    return 0


def _run(ctx: click.Context, work: Work) -> Any:
    """Do the work with a client of the server, or of this machine's records."""
    import anyio  # noqa: PLC0415

    from server.cli.office_client import Target, office_client  # noqa: PLC0415
    from server.observability.logs import configure_logging  # noqa: PLC0415
    from server.settings import LogSettings, load_settings  # noqa: PLC0415

    given = ctx.obj
    target = Target(load_settings(given["config"], data_dir=given["data_dir"]), given["url"], given["api_key"])
    configure_logging(LogSettings(level="error"))

    async def run() -> tuple[Any, click.ClickException | None]:
        async with office_client(target) as office:
            try:
                return await work(office), None
            except click.ClickException as refused:  # told as it is, not as a part of a group
                return None, refused

    result, refused = anyio.run(run)
    if refused is not None:
        raise refused
    return result


def _print(value: Any) -> None:
    from server.cli.console import print_json  # noqa: PLC0415

    print_json(value)
