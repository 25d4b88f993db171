"""The usage routes, as data; a part of ``server.contracts.http_routes``."""

from __future__ import annotations

from typing import Final, get_args

from metering.usage import Mode
from metering.usage_report import GROUPINGS
from server.contracts.errors import ErrorCode
from server.contracts.http_route import HttpRoute, QueryParameter
from server.contracts.transport import TRANSPORTS
from server.contracts.usage_reports import InvoiceResponse, UsageCurrentResponse, UsageEventPage, UsageReportResponse

_ERRORS: Final = (ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED)
_TENANT: Final = QueryParameter(
    "tenant", "Usage of this tenant; other than one's own with the operator's keys only.", {"type": "string"}
)
_EVENTS: Final = (
    QueryParameter(
        "since", "Turns that began at this moment or later: a span (`24h`), a day, or RFC 3339.", {"type": "string"}
    ),
    QueryParameter("until", "Turns that began before this moment.", {"type": "string"}),
    QueryParameter("user", "This person's only.", {"type": "string"}),
    QueryParameter("agent", "With this agent only.", {"type": "string"}),
    QueryParameter("session", "Of this session only.", {"type": "string"}),
    QueryParameter("mode", "In this lane only.", {"type": "string", "enum": list(get_args(Mode))}),
    QueryParameter("transport", "That came this way only.", {"type": "string", "enum": list(TRANSPORTS)}),
    QueryParameter("success", "Only those that succeeded, or failed.", {"type": "boolean"}),
    QueryParameter("replaced", "Also events that a correction has replaced.", {"type": "boolean", "default": False}),
    QueryParameter("cursor", "The `next_cursor` of the page before, with the same filters.", {"type": "string"}),
    QueryParameter(
        "order", "Oldest or newest first, by recording.", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
    ),
    QueryParameter("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 100}),
    QueryParameter(
        "format",
        "A page as JSON, or a file of all the events: the header `Repr-Digest` (RFC 9530) has its SHA-256, "
        "`Usage-Export` an `ExportMetadata` as JSON.",
        {"type": "string", "enum": ["json", "csv", "jsonl"], "default": "json"},
    ),
    _TENANT,
)
_REPORT: Final = (
    QueryParameter("by", "What each row is of.", {"type": "string", "enum": list(GROUPINGS), "default": "day"}),
    QueryParameter("month", "The days of this month, `2026-11`. The default: this month so far.", {"type": "string"}),
    QueryParameter("since", "From this day (UTC) on, or the last days: `30d`.", {"type": "string"}),
    QueryParameter("until", "Before this day. At most 400 days.", {"type": "string"}),
    QueryParameter("agent", "With this agent only.", {"type": "string"}),
    QueryParameter("user", "This person only, with `by=user`.", {"type": "string"}),
    QueryParameter(
        "limit",
        "With `by=user`: a row for so many people, those who talked most; the others are together. A file has all.",
        {"type": "integer", "minimum": 1, "maximum": 2_000, "default": 100},
    ),
    QueryParameter(
        "format", "JSON, or the rows as a file.", {"type": "string", "enum": ["json", "csv"], "default": "json"}
    ),
    _TENANT,
)

USAGE_ROUTES: Final[tuple[HttpRoute, ...]] = (
    HttpRoute(
        "get",
        "/v1/usage/current",
        "currentUsage",
        "Today and this month: of the tenant for who may read that, else one's own",
        {200: UsageCurrentResponse},
        query=(
            QueryParameter(
                "scope",
                "Whose usage; what the caller may see, if not said.",
                {"type": "string", "enum": ["own", "tenant"]},
            ),
            _TENANT,
        ),
        errors=_ERRORS,
    ),
    HttpRoute(
        "get",
        "/v1/usage/events",
        "listUsageEvents",
        "Usage events one by one, or all of them in a file with its checksum (permission `usage.read`)",
        {200: UsageEventPage},
        query=_EVENTS,
        errors=(*_ERRORS, ErrorCode.REQUEST_TOO_LARGE),
    ),
    HttpRoute(
        "get",
        "/v1/usage/report",
        "usageReport",
        "Usage and its cost by day, person, agent or provider (permission `usage.read`)",
        {200: UsageReportResponse},
        query=_REPORT,
        errors=_ERRORS,
    ),
    HttpRoute(
        "get",
        "/v1/usage/invoices/{period}",
        "usageInvoice",
        "The invoice lines of a month, `2026-11`; those of a closed one never change (permission `usage.read`)",
        {200: InvoiceResponse},
        query=(_TENANT,),
        errors=_ERRORS,
    ),
)
