"""The annotations of Azure OpenAI's content filter, read for what was refused: names and severities, never words.

Pure. A result is ``{"violence": {"filtered": true, "severity": "medium"}, "jailbreak": {"filtered": false, ...}}``; the
filter's own failures and what it only remarks on are no refusals. Reference: Azure OpenAI, "Content filtering".
Driven by ``agents.models.openai_wire`` and ``openai_errors``.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

from agents.models.port import FilteredCategory

MAX_CATEGORIES: Final = 20
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names and severities are the service's own words; anything else might be somebody's text."""


def categories_of(results: object) -> tuple[FilteredCategory, ...]:
    """The categories for which something was refused; empty for anything that is no result."""
    if not isinstance(results, dict):
        return ()
    found: list[FilteredCategory] = []
    for name, result in cast("dict[object, object]", results).items():
        if not isinstance(result, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
            continue
        fields = cast("dict[str, Any]", result)
        if fields.get("filtered") is True:
            severity = fields.get("severity")
            known = isinstance(severity, str) and _NAME.fullmatch(severity)
            found.append(FilteredCategory(name, severity if known else None))
    return tuple(found[:MAX_CATEGORIES])


def prompt_categories(extras: object) -> tuple[FilteredCategory, ...]:
    """The same of a chunk's ``prompt_filter_results``: one entry for each prompt."""
    if not isinstance(extras, list):
        return ()
    found: dict[str, FilteredCategory] = {}
    for entry in cast("list[object]", extras):
        if isinstance(entry, dict):
            results = cast("dict[str, Any]", entry).get("content_filter_results")
            found |= {category.name: category for category in categories_of(results)}
    return tuple(found.values())
