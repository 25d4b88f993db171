"""``/v1/usage/...``: what was used, by whom, what it cost; from the ledger, for who may know.

Owns permissions, limits and headers; what is asked is ``server.usage_filters``', the answers are
``server.usage_view``'s, files ``server.usage_export``'s.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar, cast

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from metering.budgets.store import BudgetStoreAway
from metering.errors import LedgerError
from metering.ledger import UsageQuery
from metering.pricing.rates import day_name
from metering.records import RecordsError
from metering.usage_report import GROUPINGS, ReportQuery, report_csv, usage_report
from server.audit import AuditEntry
from server.budgets.view import usage_lines
from server.contracts.base import Contract
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import require
from server.host import Host
from server.latency_view import BadFilter
from server.ledgers import price_book
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, request_id
from server.usage_export import (
    MAKE_LIMIT_S,
    MEDIA_TYPES,
    ExportAbandoned,
    ExportFile,
    ExportOrder,
    ExportTooLarge,
    Format,
    make_export,
)
from server.usage_filters import EVENT_FILTERS, MOST_ROWS, event_query, limit_of, named_month, page_request, report_days
from server.usage_view import Asking, read_current, read_events, read_invoice, read_report

T = TypeVar("T")

READ_LIMIT_S: Final = 5.0
RETRY_AFTER_S: Final = 2.0
CHUNK_BYTES: Final = 1 << 16
_PAGING: Final = ("limit", "cursor", "order")


class UsageRoutes:
    """The routes' work, bound to this server."""

    def __init__(self, host: Host) -> None:
        self._host = host
        # Reading takes a core's time that conversations want: one report at a time, and beside it one file.
        self._reading = anyio.CapacityLimiter(1)
        self._exporting = anyio.CapacityLimiter(1)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/usage/current", self._current, methods=["GET"]),
            Route("/v1/usage/events", self._events, methods=["GET"]),
            Route("/v1/usage/report", self._report, methods=["GET"]),
            Route("/v1/usage/invoices/{period}", self._invoice, methods=["GET"]),
        ]

    async def _current(self, request: Request) -> Response:
        _known(request, "scope", "tenant")
        who = caller(request)
        scope = request.query_params.get("scope")
        if scope not in (None, "own", "tenant"):
            raise Refused(ErrorCode.REQUEST_INVALID, "scope must be own or tenant.")
        own = scope == "own" or (scope is None and not who.may(Permission.USAGE_READ))
        tenant = request.query_params.get("tenant")
        if own and tenant not in (None, who.tenant_id):
            raise Refused(ErrorCode.REQUEST_INVALID, "scope=own is about your own tenant.")
        tenant_id = require(who, Permission.USAGE_OWN if own else Permission.USAGE_READ, tenant)
        asking = Asking(request_id(request), tenant_id, who.user_id if own else None, self._host.epoch_ms())
        try:
            budgets = await usage_lines(
                self._host.offices.budgets, tenant_id, asking.user_id, everybodys=who.may(Permission.OPERATE)
            )
        except (RecordsError, BudgetStoreAway) as error:
            words = "Budgets cannot be read at the moment."
            raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S) from error
        return await self._answer(
            lambda: read_current(self._host.ledger, asking, price_book(self._host.settings), budgets)
        )

    async def _events(self, request: Request) -> Response:
        _known(request, *EVENT_FILTERS, *_PAGING, "since", "until", "tenant", "format")
        given = request.query_params
        tenant_id, now_ms = self._tenant(request), self._host.epoch_ms()
        with _asked():
            query = event_query(given, tenant_id, now_ms)
            match given.get("format", "json"):
                case "json":
                    page = page_request(given)
                case "csv" | "jsonl" as form:
                    if any(name in given for name in _PAGING):
                        raise BadFilter("a file holds all events: limit, cursor and order are for pages.")
                    return await self._export(request, _order(form, query, given, now_ms))
                case _:
                    raise BadFilter("format must be json, csv or jsonl.")
        body = await self._read(partial(read_events, self._host.ledger, query, page, request_id(request)))
        # An event's fields are all there, also where there is nothing to tell.
        return Response(body.model_dump_json(), 200, NO_STORE, "application/json")

    async def _report(self, request: Request) -> Response:
        _known(request, "by", "month", "since", "until", "agent", "user", "tenant", "format", "limit")
        given = request.query_params
        asking = Asking(request_id(request), self._tenant(request), None, self._host.epoch_ms())
        with _asked():
            by, form = given.get("by", "day"), given.get("format", "json")
            if by not in GROUPINGS:
                raise BadFilter(f"by must be one of {', '.join(GROUPINGS)}.")
            if "user" in given and by != "user":
                raise BadFilter("user goes with by=user.")
            if form not in ("json", "csv"):
                raise BadFilter("format must be json or csv.")
            if "limit" in given and (by, form) != ("user", "json"):
                raise BadFilter("limit goes with by=user; a file holds everybody.")
            most = limit_of(given, MOST_ROWS) if (by, form) == ("user", "json") else None
            days = report_days(given, asking.now_ms)
        agent_id, user_id = given.get("agent"), given.get("user")
        query = ReportQuery(by, days.first, days.before, asking.tenant_id, agent_id, user_id, most)
        if form == "csv":
            return await self._report_file(request, query, asking.tenant_id)
        return await self._answer(
            lambda: read_report(self._host.ledger, query, price_book(self._host.settings), asking)
        )

    async def _report_file(self, request: Request, query: ReportQuery, tenant_id: str) -> Response:
        book = partial(price_book, self._host.settings)
        lines = await self._read(lambda: list(report_csv(usage_report(self._host.ledger, query, book()))))
        told = {
            "format": "csv",
            "by": query.by,
            "since": day_name(query.first_day),
            "until": day_name(query.day_before),
        }
        await self._note_file(request, tenant_id, told)
        headers = NO_STORE | {"Content-Disposition": f'attachment; filename="usage-by-{query.by}.csv"'}
        return Response(b"".join(lines), 200, headers, MEDIA_TYPES["csv"])

    async def _invoice(self, request: Request) -> Response:
        _known(request, "tenant")
        asking = Asking(request_id(request), self._tenant(request), None, self._host.epoch_ms())
        period: str = request.path_params["period"]
        with _asked():
            named_month(period)
        return await self._answer(
            lambda: read_invoice(self._host.ledger, period, price_book(self._host.settings), asking)
        )

    def _tenant(self, request: Request) -> str:
        return require(caller(request), Permission.USAGE_READ, request.query_params.get("tenant"))

    async def _answer(self, read: Callable[[], Contract]) -> Response:
        return answer(await self._read(read), headers=NO_STORE)

    async def _read(self, read: Callable[[], T]) -> T:
        try:
            with anyio.fail_after(READ_LIMIT_S):
                return await anyio.to_thread.run_sync(read, limiter=self._reading, abandon_on_cancel=True)
        except (TimeoutError, LedgerError) as error:
            raise _unreadable() from error

    async def _export(self, request: Request, order: ExportOrder) -> Response:
        made = await self._make(order)
        try:
            metadata = made.metadata
            told = metadata.model_dump(include={"format", "since", "until", "filters", "events", "sha256"})
            await self._note_file(request, metadata.tenant_id, told)
        except BaseException:
            made.file.close()
            raise
        return _FileResponse(made)

    async def _note_file(self, request: Request, tenant_id: str, details: Mapping[str, Any]) -> None:
        """No file goes out that the audit log does not know of. Raises Refused."""
        entry = AuditEntry(
            caller(request), "usage.exported", tenant_id, details=details, request_id=request_id(request)
        )
        try:
            await self._host.offices.audit.record(entry)
        except RecordsError as error:
            words = "The audit log cannot be written at the moment."
            raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S) from error

    async def _make(self, order: ExportOrder) -> ExportFile:
        abandoned = threading.Event()
        work = partial(make_export, self._host.ledger, order, self._host.settings.data_dir, abandoned)
        try:
            with anyio.fail_after(READ_LIMIT_S):
                await self._exporting.acquire_on_behalf_of(abandoned)
        except TimeoutError as error:
            words = "Another file is being made at the moment."
            raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S) from error
        try:
            with anyio.fail_after(MAKE_LIMIT_S + READ_LIMIT_S):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except ExportTooLarge as error:
            raise Refused(ErrorCode.REQUEST_TOO_LARGE, str(error)) from error
        except (TimeoutError, LedgerError, ExportAbandoned, OSError) as error:
            raise _unreadable() from error
        finally:
            abandoned.set()
            self._exporting.release_on_behalf_of(abandoned)


class _FileResponse(Response):
    """A file with what is to be known of it in the headers; closed at the end, whoever made it."""

    def __init__(self, made: ExportFile) -> None:
        metadata = made.metadata
        headers = NO_STORE | {
            "Content-Length": str(metadata.bytes),
            "Content-Disposition": f'attachment; filename="{made.name}"',
            "Repr-Digest": made.digest,
            "Usage-Export": _ascii(metadata.model_dump_json(exclude_none=True)),
        }
        super().__init__(None, 200, headers, MEDIA_TYPES[metadata.format])
        self._made = made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while chunk := await anyio.to_thread.run_sync(self._made.file.read, CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._made.file.close()


def usage_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""
    return UsageRoutes(host).routes()


def _order(form: str, query: UsageQuery, given: Mapping[str, str], now_ms: int) -> ExportOrder:
    """A file of all the query's events up to now: what is recorded while it is made is for the next one."""
    if query.started_before is None:
        query = replace(query, started_before=now_ms)
    filters = {name: given[name] for name in EVENT_FILTERS if name in given}
    return ExportOrder(query, cast("Format", form), filters, now_ms)


@contextmanager
def _asked() -> Generator[None]:
    try:
        yield
    except BadFilter as error:
        raise Refused(ErrorCode.REQUEST_INVALID, str(error)) from error


def _known(request: Request, *names: str) -> None:
    unknown = sorted(set(request.query_params) - set(names))
    if unknown:
        raise Refused(ErrorCode.REQUEST_INVALID, f"There is no filter called {unknown[0][:40]}.")


def _unreadable() -> Refused:
    words = "The usage ledger cannot be read at the moment."
    return Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S)


def _ascii(text: str) -> str:
    """JSON for a header: every other character as an escape."""
    return json.dumps(json.loads(text), ensure_ascii=True, separators=(",", ":"))
