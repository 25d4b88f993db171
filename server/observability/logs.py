"""Logs: a constant message and named fields, one line each; plain for people, JSON for machines.

Callers write ``logger.info("session started", extra={"session_id": ...})``. What people said goes only into fields
whose name begins with ``said_``, which are withheld unless the operator turned transcripts on. Configured once by
whoever starts the process; knows nothing of what it logs.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from server.settings import LogSettings

SAID_PREFIX: Final = "said_"
WITHHELD: Final = "(withheld)"
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


def fields_of(record: logging.LogRecord, *, transcripts: bool) -> dict[str, Any]:
    """The fields a caller attached to a record, with what people said withheld unless ``transcripts``."""
    return {
        name: value if transcripts or not name.startswith(SAID_PREFIX) else WITHHELD
        for name, value in record.__dict__.items()
        if name not in _STANDARD
    }


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, then the fields."""

    def __init__(self, *, transcripts: bool) -> None:
        super().__init__()
        self._transcripts = transcripts

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record, transcripts=self._transcripts),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """``12:00:01 info  message  name=value``: for a terminal."""

    def __init__(self, *, transcripts: bool) -> None:
        super().__init__()
        self._transcripts = transcripts

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        fields = fields_of(record, transcripts=self._transcripts)
        words = "".join(f"  {name}={value}" for name, value in fields.items())
        line = f"{at} {record.levelname.lower():7} {record.getMessage()}{words}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send this process's logs to ``stream`` (stderr by default), replacing earlier handlers."""
    out = stream if stream is not None else sys.stderr
    plain = settings.format == "plain" or (settings.format == "auto" and out.isatty())
    formatter = PlainFormatter if plain else JsonFormatter
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(transcripts=settings.transcripts))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for room in ("server", "agents", "audio", "metering"):
        logging.getLogger(room).setLevel(settings.level.upper())
