"""``convergio-voice azure-emulator``: a local stand-in for the Azure Speech service, for work without an account.

Prints what to give the Speech SDK, then serves until it is stopped.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from socket import socket

    import anyio.abc

    from server.azure_emulator.engines import EmulatorEngines
    from server.azure_emulator.service import EmulatorOptions
    from server.azure_emulator.serving import RunningEmulator


@click.command("azure-emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8_090, show_default=True, help="Port; 0 for any free one."
)
@click.option("--key", help="Subscription key clients must show. Default: anybody may.")
@click.option("--token", "tokens", multiple=True, help="Bearer token that is taken beside those it issues. Repeatable.")
@click.option("--scripted", is_flag=True, help="No models: recognition says the script, a voice is a tone, at once.")
@click.option("--say", "script", multiple=True, help="One phrase of the script; implies --scripted. Repeatable.")
@click.option("--turn-per-phrase", is_flag=True, help="End a recognition turn after each phrase.")
@click.option("--connection-limit", type=click.FloatRange(min=0.1), help="Close each connection after so many seconds.")
@click.option("--fault", "faults", multiple=True, help="NAME[,field=value..], see --list-faults. Repeatable.")
@click.option("--list-faults", is_flag=True, help="Show the faults there are, and stop.")
@click.option("--until-stdin-closes", is_flag=True, help="Stop when whoever started it is gone; for tests.")
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="A Whisper model for recognition.")
@click.option("--voice", type=click.Path(path_type=Path, exists=True), help="A Piper voice for synthesis.")
def command(*, list_faults: bool, **given: Any) -> int:
    """A local stand-in for the Azure Speech service: the genuine SDK works against it, without an account.

    Speech-to-text and text-to-speech over Azure Speech's own WebSocket protocol, by the embedded engines, or by a
    script that answers at once (--scripted). What is printed goes into the SDK unchanged.

    \b
    Examples:
      convergio-voice azure-emulator
      convergio-voice azure-emulator --say "Go forward ten meters."
      convergio-voice azure-emulator --scripted --fault throttled,times=2
      convergio-voice azure-emulator --scripted --fault close,code=1011,at=phrase,service=stt
    """
    if list_faults:
        _print_faults()
        return 0
    import uvloop  # noqa: PLC0415 - commands import late

    from server.azure_emulator.faults import FaultError, fault_from_text  # noqa: PLC0415
    from server.azure_emulator.service import EmulatorOptions  # noqa: PLC0415
    from server.settings import prepare_process_environment  # noqa: PLC0415

    prepare_process_environment()
    try:
        faults = tuple(fault_from_text(text) for text in given["faults"])
    except FaultError as error:
        raise click.UsageError(str(error)) from error
    options = EmulatorOptions(
        key=given["key"],
        tokens=given["tokens"],
        turn_per_phrase=given["turn_per_phrase"],
        connection_limit_s=given["connection_limit"],
        faults=faults,
    )
    uvloop.run(_serve(options, given))
    return 0


async def _serve(options: EmulatorOptions, given: dict[str, Any]) -> None:
    from server.azure_emulator.engines import DEFAULT_SCRIPT, embedded_engines, scripted_engines  # noqa: PLC0415
    from server.listening import listen  # noqa: PLC0415

    listener = listen(given["host"], given["port"])
    if given["scripted"] or given["script"]:
        engines = scripted_engines(given["script"] or DEFAULT_SCRIPT)
        await _run(engines, options, listener, until_stdin_closes=given["until_stdin_closes"])
        return
    async with embedded_engines(given["model"], given["voice"]) as engines:
        await _run(engines, options, listener, until_stdin_closes=given["until_stdin_closes"])


async def _run(
    engines: EmulatorEngines, options: EmulatorOptions, listener: socket, *, until_stdin_closes: bool
) -> None:
    import anyio  # noqa: PLC0415

    from server.azure_emulator.service import Emulator  # noqa: PLC0415
    from server.azure_emulator.serving import serving  # noqa: PLC0415

    async with serving(Emulator(engines, options), listener) as running, anyio.create_task_group() as tasks:
        await tasks.start(_until_signalled, tasks.cancel_scope)
        _announce(running, engines.name, options)
        if until_stdin_closes:
            await anyio.wait_readable(sys.stdin)  # nothing is ever written there: it has closed
            tasks.cancel_scope.cancel()


async def _until_signalled(scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    import anyio  # noqa: PLC0415

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            break
    scope.cancel()


def _announce(running: RunningEmulator, engines: str, options: EmulatorOptions) -> None:
    key = options.key or "any"
    click.echo(f"Azure Speech emulator on {running.http_url} ({engines} engines)")
    click.echo(f'  SpeechConfig(host="{running.ws_url}", subscription="{key}")')
    click.echo(f'  SpeechConfig(endpoint="{running.ws_url}", subscription="{key}")')
    click.echo(f"  state:  GET {running.http_url}/emulator/state")
    click.echo(f"  faults: POST {running.http_url}/emulator/faults")
    for fault in options.faults:
        click.echo(f"  in force: {fault.kind} at {fault.at or 'its usual point'}")


def _print_faults() -> None:
    from server.azure_emulator import faults  # noqa: PLC0415

    click.echo((faults.__doc__ or "").replace("``", ""))
    click.echo("Names for usual ones; what is said beside a name overrides it:")
    for name, fault in faults.PRESETS.items():
        said = " ".join(f"{field}={value}" for field, value in faults.described(fault).items())
        click.echo(f"  {name:<20}{fault.kind:<15}{said}".rstrip())
