"""``convergio-voice``: the command line's entry point.

Knows the commands' names and help, and imports each one only when it is run, so that asking for help or the version
is immediate. Every error a command raises on purpose becomes one or more sentences on stderr and exit code 1;
``--debug`` shows where it came from.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final, cast

import click

from server.version import __version__

COMMANDS: Final[dict[str, str]] = {
    "serve": "Start the server.",
    "talk": "Talk to an agent: a recording, the microphone, or in writing.",
    "doctor": "Check this installation and say how to mend what is wrong.",
    "usage": "Show what was used.",
    "keys": "Make, list and revoke API keys.",
    "tenants": "Make, list and disable tenants.",
    "users": "Make, list and disable users; set passwords.",
    "audit": "Show what was done by whom; verify the log.",
    "webhooks": "Show how usage events go out, and send some again.",
    "price": "Check price sheets, list prices, close a month.",
    "vault": "Show which provider keys are kept, and change the master key.",
    "privacy": "Export and delete people's data; retention, legal holds, purges.",
    "latency": "Show where the milliseconds of turns went.",
    "budgets": "Show how long turns may take, and what is done when they take longer.",
    "quotas": "Show, set and override budgets and quotas.",
    "azure-emulator": "A local stand-in for the Azure Speech service.",
}
"""Each lives in ``server.cli.<name>`` as a click command called ``command``."""


class _LazyGroup(click.Group):
    """A group that imports a command when it is run, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(f"server.cli.{cmd_name.replace('-', '_')}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convergio-voice", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Talk to an agent that listens, answers aloud, and can be interrupted."""
    ctx.obj = {"debug": debug}


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; nothing is raised to the caller."""
    debug = "--debug" in arguments
    try:
        code: Any = cli.main(arguments, prog_name="convergio-voice", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            raise
        _show(sentences(error))
        return 1
    return code if isinstance(code, int) else 0


def _show(sentences: list[str]) -> None:
    from server.cli.console import console  # noqa: PLC0415 - only for errors

    out = console(err=True)
    for sentence in sentences:
        out.print("error:", style="bold red", end=" ")
        out.print(sentence, markup=False)


def sentences(error: BaseException) -> list[str]:
    """What went wrong, for people. Of a group, the first."""
    if isinstance(error, click.ClickException):
        return [error.format_message()]
    while isinstance(error, BaseExceptionGroup):
        inner = cast("tuple[BaseException, ...]", error.exceptions)
        error = inner[0]
    problems = cast("tuple[str, ...]", getattr(error, "problems", ()))
    if problems:
        return list(problems)
    text = str(error).strip()
    if type(error).__module__.startswith(("server.", "agents.", "audio.", "metering.")):
        return [text]
    kind = type(error).__name__
    return [f"{text or kind} (unexpected: {kind}; run with --debug to see where)."]
