"""Keys never reach a log: whatever is logged is looked through for the keys in use, as they are and as URLs, JSON
and Python write them.

The last of several nets: nothing of ours logs a key, but a provider may send one back in an error, and a library may
put that into an exception. Owned by the vault, which lends it to the handlers of the process while it is open.
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "[key]"
LEAST_CHARACTERS: Final = 8
"""Shorter ones are no secrets, and would be found in words."""
MOST: Final = 4_096


class Redactor:
    """Knows the keys in use; the oldest are forgotten beyond ``MOST``."""

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, None] = OrderedDict()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secret: str) -> None:
        """From now on this is hidden."""
        if len(secret) < LEAST_CHARACTERS:
            return
        if secret in self._secrets:
            self._secrets.move_to_end(secret)
            return
        self._secrets[secret] = None
        if len(self._secrets) > MOST:
            self._secrets.popitem(last=False)
        self._pattern = None

    def scrub(self, text: str) -> str:
        """The text without them."""
        if not self._secrets:
            return text
        if self._pattern is None:
            written = {form for secret in tuple(self._secrets) for form in _forms(secret)}
            self._pattern = re.compile("|".join(re.escape(each) for each in sorted(written, key=len, reverse=True)))
        return self._pattern.sub(HIDDEN, text)

    @contextmanager
    def on_logs(self) -> Generator[None]:
        """Everything the root logger's handlers write is scrubbed while the body runs."""
        before = [(handler, handler.formatter) for handler in logging.getLogger().handlers]
        for handler, formatter in before:
            handler.setFormatter(_Scrubbing(formatter or logging.Formatter(), self))
        try:
            yield
        finally:
            for handler, formatter in before:
                handler.setFormatter(formatter)


def _forms(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, ""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]


class _Scrubbing(logging.Formatter):
    def __init__(self, inner: logging.Formatter, redactor: Redactor) -> None:
        super().__init__()
        self._inner = inner
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.scrub(self._inner.format(record))
