"""An Azure Key Vault for tests, on the loopback interface over TLS: secrets, their versions, deletion, and the
challenge by which its clients learn whom to ask for a token (https://learn.microsoft.com/rest/api/keyvault/secrets).
Faults are set from outside. Standard library only, in threads of its own.
"""

from __future__ import annotations

import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clients.tls_front import certificate

TOKEN = "a-token-of-a-test"
EXPIRES = 4_000_000_000


@dataclass
class Version:
    value: str
    enabled: bool = True
    created: int = 0


@dataclass
class StandIn:
    """``fault``: ``outage`` (503), ``throttled`` (429), ``forbidden`` (403), ``silent``, or nothing."""

    port: int
    pem: Path
    fault: str | None = None
    secrets: dict[str, dict[str, Version]] = field(default_factory=dict[str, dict[str, Version]])
    deleted: set[str] = field(default_factory=set[str])
    requests: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    challenged: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """What the SDK's client must be told: whose certificate this is, and that ``localhost`` is no Azure."""
        return {"connection_verify": str(self.pem), "verify_challenge_resource": False}

    def only(self) -> dict[str, Version]:
        (versions,) = self.secrets.values()
        return versions


class StaticCredential:
    """A source of tokens that notes for what they were asked."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> Any:
        from azure.core.credentials import AccessToken  # noqa: PLC0415 - an optional extra

        self.scopes += scopes
        return AccessToken(TOKEN, EXPIRES)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vault: StandIn

    def do_GET(self) -> None:
        self._handle("GET")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        vault, path = self.vault, self.path.partition("?")[0].strip("/").split("/")
        vault.requests.append((method, self.path))
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                vault.challenged += 1
                said = 'Bearer authorization="https://login.microsoftonline.com/a-tenant", resource="https://vault.azure.net"'
                self._send(401, {}, {"WWW-Authenticate": said})
            elif vault.fault is not None:
                self._fail(vault.fault)
            else:
                self._answer(method, path, body)

    def _fail(self, fault: str) -> None:
        match fault:
            case "outage":
                self._error(503, "ServiceUnavailable")
            case "throttled":
                self._error(429, "Throttled", {"Retry-After": "7"})
            case "forbidden":
                self._error(403, "Forbidden", inner="ForbiddenByRbac")
            case _:
                self.vault.closing.wait(60)

    def _answer(self, method: str, path: list[str], body: dict[str, Any]) -> None:
        vault, name = self.vault, path[1]
        if method == "PUT":
            if name in vault.deleted:
                self._error(409, "Conflict", inner="ObjectIsDeletedButRecoverable")
                return
            version = uuid.uuid4().hex
            vault.secrets.setdefault(name, {})[version] = Version(body["value"], created=len(vault.requests))
            self._send(200, self._bundle(name, version))
        elif name not in vault.secrets:
            self._error(404, "SecretNotFound")
        elif method == "DELETE":
            newest = next(reversed(vault.secrets[name]))
            told = self._bundle(name, newest) | {"recoveryId": f"{vault.url}/deletedsecrets/{name}"}
            del vault.secrets[name]
            vault.deleted.add(name)
            self._send(200, told)
        elif path[2:] == ["versions"]:
            listed = [self._bundle(name, version) for version in vault.secrets[name]]
            self._send(200, {"value": [{k: v for k, v in each.items() if k != "value"} for each in listed]})
        else:
            self._get(name, path[2] if len(path) > 2 else next(reversed(vault.secrets[name])))

    def _get(self, name: str, version: str) -> None:
        found = self.vault.secrets[name].get(version)
        if found is None:
            self._error(404, "SecretNotFound")
        elif not found.enabled:
            self._error(403, "Forbidden", inner="SecretDisabled")
        else:
            self._send(200, self._bundle(name, version))

    def _bundle(self, name: str, version: str) -> dict[str, Any]:
        found = self.vault.secrets[name][version]
        attributes = {"enabled": found.enabled, "created": found.created, "updated": found.created}
        return {"value": found.value, "id": f"{self.vault.url}/secrets/{name}/{version}", "attributes": attributes}

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None, inner: str | None = None) -> None:
        error: dict[str, Any] = {"code": code, "message": f"{code} {inner or ''}"}
        if inner is not None:
            error["innererror"] = {"code": inner}
        self._send(status, {"error": error}, headers)

    def _send(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def key_vault_here(directory: Path) -> Iterator[StandIn]:
    """Serves until left."""
    pem = certificate(directory)
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        vault = handler.vault = StandIn(server.server_port, pem)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield vault
        finally:
            vault.closing.set()
            server.shutdown()
            thread.join(10)
