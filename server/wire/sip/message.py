"""SIP messages as values, and their text: tolerant when read, strict when written (RFC 3261 section 7).

Owns the grammar of start lines and headers, and the bounds on both. Knows no transport: ``framing`` cuts streams into
messages. What is required of every request is checked by ``check_request``, so that one that is malformed can still be
answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from server.wire.sip.errors import BadRequest, SipSyntaxError
from server.wire.sip.text import TOKEN, split_outside_quotes, whole_number
from server.wire.sip.uri import Address, parse_address, parse_uri
from server.wire.sip.via import Via, parse_via

MAX_MESSAGE_BYTES: Final = 64 * 1_024
MAX_HEAD_BYTES: Final = 32 * 1_024
MAX_HEADERS: Final = 256
_VERSION: Final = "SIP/2.0"
_STATUS_LINE: Final = re.compile(r"SIP/2\.0[ \t]+([1-6]\d\d)(?:[ \t](.*))?", re.IGNORECASE)
_FOLD: Final = re.compile(r"\r?\n[ \t]+")

_COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}
_SPELLED: Final = {"call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate", "min-se": "Min-SE"}

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers in order; names in lower case, written out. Values hold no line breaks."""

    pairs: tuple[Pair, ...] = ()

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        for key, value in self.pairs:
            if key == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Every value of a header that is a list, cut at its commas."""
        return [part for key, value in self.pairs if key == name for part in split_outside_quotes(value, ",") if part]

    def tokens(self, name: str) -> frozenset[str]:
        """The words of a header such as Supported or Allow, in lower case."""
        return frozenset(value.partition(";")[0].strip().lower() for value in self.all(name))

    def count(self, name: str) -> int:
        return sum(key == name for key, _ in self.pairs)


@dataclass(frozen=True, slots=True)
class _Message:
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def call_id(self) -> str:
        return _required(self.headers, "call-id")

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method. Raises SipSyntaxError."""
        number, _, method = _required(self.headers, "cseq").strip().partition(" ")
        if not TOKEN.fullmatch(method.strip()):
            raise SipSyntaxError("CSeq names no method")
        return whole_number(number, 2**31 - 1), method.strip()

    @property
    def via(self) -> Via:
        """The topmost Via. Raises SipSyntaxError."""
        return parse_via(next(iter(self.headers.all("via")), ""))

    @property
    def sender(self) -> Address:
        """From. Raises SipSyntaxError."""
        return parse_address(_required(self.headers, "from"))

    @property
    def recipient(self) -> Address:
        """To. Raises SipSyntaxError."""
        return parse_address(_required(self.headers, "to"))


@dataclass(frozen=True, slots=True)
class Request(_Message):
    """A request. ``method`` is as it was written: methods are case-sensitive."""

    method: str = ""
    uri: str = ""

    def to_bytes(self) -> bytes:
        return _write(f"{self.method} {self.uri} {_VERSION}", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response(_Message):
    """A response."""

    status: int = 0
    reason: str = ""

    @property
    def final(self) -> bool:
        return self.status >= 200

    @property
    def success(self) -> bool:
        return 200 <= self.status < 300

    def to_bytes(self) -> bytes:
        return _write(f"{_VERSION} {self.status} {self.reason}", self.headers, self.body)


Message = Request | Response


def parse_message(data: bytes) -> Message:
    """One whole message: what follows Content-Length is dropped. Raises SipSyntaxError."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise SipSyntaxError("the message is too long")
    head, body = split_head(data.lstrip(b"\r\n"))
    message = parse_head(head)
    length = content_length(message.headers)
    if length is not None and length > len(body):
        raise SipSyntaxError("the body is shorter than Content-Length says")
    return with_body(message, body if length is None else body[:length])


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Start line and headers, and what follows the empty line. Raises SipSyntaxError where there is none."""
    for end in (b"\r\n\r\n", b"\n\n"):
        head, found, body = data.partition(end)
        if found:
            return head, body
    raise SipSyntaxError("the headers do not end")


def parse_head(head: bytes) -> Message:
    """Start line and headers to a message without a body. Raises SipSyntaxError."""
    if len(head) > MAX_HEAD_BYTES:
        raise SipSyntaxError("the headers are too long")
    text = _FOLD.sub(" ", head.decode("utf-8", "surrogateescape"))
    start, *lines = (line.rstrip("\r") for line in text.split("\n"))
    if "\r" in start or any("\r" in line for line in lines):
        raise SipSyntaxError("a line holds half a line break")
    if len(lines) > MAX_HEADERS:
        raise SipSyntaxError("there are too many headers")
    headers = Headers(tuple(_header(line) for line in lines))
    status = _STATUS_LINE.fullmatch(start)
    if status is not None:
        return Response(headers, status=int(status[1]), reason=(status[2] or "").strip())
    method, _, rest = start.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if version.upper() != _VERSION or not TOKEN.fullmatch(method) or not uri.strip():
        raise SipSyntaxError("the first line is no request and no status")
    return Request(headers, method=method, uri=uri.strip())


def content_length(headers: Headers) -> int | None:
    """What Content-Length says. Raises SipSyntaxError where it is no number, too long, or said twice differently."""
    said = {value.strip() for key, value in headers.pairs if key == "content-length"}
    if len(said) > 1:
        raise SipSyntaxError("two Content-Lengths disagree")
    return whole_number(said.pop(), MAX_MESSAGE_BYTES) if said else None


def with_body(message: Message, body: bytes) -> Message:
    """The same message with this body."""
    if isinstance(message, Request):
        return Request(message.headers, body, message.method, message.uri)
    return Response(message.headers, body, message.status, message.reason)


def check_request(request: Request) -> None:
    """What every request must have, and have once (RFC 3261 section 8.1.1). Raises BadRequest."""
    try:
        _, method = request.cseq
        _ = request.via, request.sender, request.recipient  # malformed ones raise
        for name in ("call-id", "cseq", "from", "to"):
            if request.headers.count(name) != 1:
                raise BadRequest(400, "Duplicate Header")
        if not request.call_id.strip():
            raise BadRequest(400, "Bad Call-ID")
    except SipSyntaxError as error:
        raise BadRequest(400, "Bad Request") from error
    if method != request.method:
        raise BadRequest(400, "CSeq Method Mismatch")
    _check_uri(request.uri)
    _check_forwards(request.headers)


def response_to(request: Request, status: int, reason: str, extra: Iterable[Pair] = (), to_tag: str = "") -> Response:
    """A response with what every response copies (RFC 3261 section 8.2.6)."""
    copied: list[Pair] = []
    for name, value in request.headers.pairs:
        if name in ("via", "from", "call-id", "cseq") or (name == "timestamp" and status == 100):
            copied.append((name, value))
        elif name == "to":
            copied.append((name, with_tag(value, to_tag) if to_tag else value))
        elif name == "record-route" and 100 < status < 300:
            copied.append((name, value))
    return Response(Headers((*copied, *extra)), status=status, reason=reason)


def with_tag(address: str, tag: str) -> str:
    """An address header with a tag, where it has none yet."""
    try:
        return address if parse_address(address).tag is not None else f"{address};tag={tag}"
    except SipSyntaxError:
        return address


def with_first(message: Request, name: str, value: str) -> Request:
    """The request with this in place of the header's first value."""
    rest: list[Pair] = []
    replaced = False
    for key, old in message.headers.pairs:
        if key == name and not replaced:
            replaced = True
            _, *others = split_outside_quotes(old, ",")
            rest.append((key, ", ".join([value, *others])))
        else:
            rest.append((key, old))
    return Request(Headers(tuple(rest)), message.body, message.method, message.uri)


def _check_uri(uri: str) -> None:
    if any(sign in uri for sign in " \t<>"):
        raise BadRequest(400, "Bad Request-URI")
    try:
        parse_uri(uri)
    except SipSyntaxError as error:
        known = uri.partition(":")[0].lower() in ("sip", "sips", "tel")
        raise BadRequest(*((400, "Bad Request-URI") if known else (416, "Unsupported URI Scheme"))) from error


def _check_forwards(headers: Headers) -> None:
    forwards = headers.get("max-forwards")
    if forwards is None:
        return
    try:
        whole_number(forwards, 255)
    except SipSyntaxError as error:
        raise BadRequest(400, "Bad Max-Forwards") from error


def _header(line: str) -> Pair:
    name, colon, value = line.partition(":")
    name = name.strip(" \t").lower()
    if not colon or not TOKEN.fullmatch(name):
        raise SipSyntaxError("a header is malformed")
    return _COMPACT.get(name, name), value.strip(" \t")


def _required(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise SipSyntaxError("a header that must be there is missing")
    return value


def _write(start: str, headers: Headers, body: bytes) -> bytes:
    lines = [start, *(f"{_spelled(name)}: {value}" for name, value in headers.pairs if name != "content-length")]
    lines.append(f"Content-Length: {len(body)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line of a SIP message holds a line break")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def _spelled(name: str) -> str:
    return _SPELLED.get(name) or "-".join(word.capitalize() for word in name.split("-"))
