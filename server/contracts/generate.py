"""Writes the machine-readable contract and its reference into ``docs/contracts/``.

``python -m server.contracts.generate`` writes; with ``--check`` it only says which files differ from the models, and
exits with 1 if any does. The models are the source; these files are what others read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from server.contracts.asyncapi import asyncapi
from server.contracts.openapi import openapi
from server.contracts.reference import errors_markdown, messages_markdown
from server.contracts.schemas import Json, schemas_of
from server.contracts.usage import UsageEventRecord
from server.contracts.voice import CLIENT_MESSAGES, SERVER_MESSAGES

CONTRACT_VERSION: Final = "1"
"""Of the API, not of the server: it changes only with ``/v2``."""

DIRECTORY: Final = Path(__file__).parents[2] / "docs" / "contracts"


def documents() -> dict[str, str]:
    """Every generated file, by name."""
    return {
        "openapi.json": _json(openapi(CONTRACT_VERSION)),
        "asyncapi.json": _json(asyncapi(CONTRACT_VERSION)),
        "events.schema.json": _json(_events_schema()),
        "errors.md": errors_markdown(),
        "messages.md": messages_markdown(),
    }


def stale(directory: Path) -> list[str]:
    """Names of the files in ``directory`` that differ from the models, or are missing."""
    return [
        name
        for name, text in documents().items()
        if not (path := directory / name).is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m server.contracts.generate", description="Generate docs/contracts.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file is out of date")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where the files are")
    options = parser.parse_args(arguments)
    names = stale(options.directory)
    if options.check:
        for name in names:
            sys.stderr.write(f"{options.directory / name} is out of date: run python -m server.contracts.generate\n")
        return 1 if names else 0
    options.directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (options.directory / name).write_text(documents()[name], encoding="utf-8")
        sys.stdout.write(f"wrote {options.directory / name}\n")
    return 0


def _events_schema() -> Json:
    prefix = "#/$defs/"
    models = (*CLIENT_MESSAGES, *SERVER_MESSAGES, UsageEventRecord)
    groups = {"ClientMessage": CLIENT_MESSAGES, "ServerMessage": SERVER_MESSAGES}
    unions: dict[str, Json] = {
        name: {"oneOf": [{"$ref": prefix + model.__name__} for model in members]} for name, members in groups.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Convergio Voice events",
        "description": "Socket messages in both directions, and the usage event.",
        "oneOf": [{"$ref": prefix + name} for name in (*unions, UsageEventRecord.__name__)],
        "$defs": {**unions, **schemas_of(models, prefix)},
    }


def _json(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
