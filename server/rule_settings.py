"""What all rules of the settings share: for whose sessions a rule is meant, by tenant, agent and locale.

``server.engine_rules`` says which rule matches; the rules themselves are in ``server.speech_settings`` (who hears and
speaks) and ``server.latency_settings`` (how long things may take).
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import field_validator

from server.setting_types import Section

_RANGE: Final = re.compile(r"\*|[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")


class SessionRule(Section):
    """A rule for the sessions that ``tenant``, ``agent`` and ``locale`` match (what is not said always does).

    ``locale`` is a language range (RFC 4647, basic filtering): ``de`` means German of any region, ``de-CH`` that of
    Switzerland only.
    """

    tenant: str | None = None
    agent: str | None = None
    locale: str | None = None

    @field_validator("locale")
    @classmethod
    def _is_a_range(cls, locale: str | None) -> str | None:
        if locale is not None and not _RANGE.fullmatch(locale):
            raise ValueError(f"{locale!r} is not a language range such as de or de-CH")
        return locale
