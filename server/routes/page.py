"""The browser page at ``/`` and the published contracts at ``/docs/contracts``: files, served strictly.

The page is ``web-demo/`` in a checkout and ``server/web_demo`` in an installed package. It may load scripts, styles
and audio worklets from this server only, and speak only to it; nothing may frame it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_SERVER: Final = Path(__file__).resolve().parent.parent
_CHECKOUT: Final = _SERVER.parent

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": PAGE_POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-cache",
}


def page_directory() -> Path | None:
    """Where the page's files are, or None where they are not installed."""
    for candidate in (_SERVER / "web_demo", _CHECKOUT / "web-demo"):
        if (candidate / "index.html").is_file():
            return candidate
    return None


def contracts_directory() -> Path | None:
    """Where the published contracts are, in a checkout."""
    directory = _CHECKOUT / "docs" / "contracts"
    return directory if directory.is_dir() else None


def page_routes(known: frozenset[str]) -> list[BaseRoute]:
    """The mounts that exist here. The page's takes every path, so it is told which ones are ``known`` routes."""
    routes: list[BaseRoute] = []
    contracts, page = contracts_directory(), page_directory()
    if contracts is not None:
        routes.append(Mount("/docs/contracts", StaticFiles(directory=contracts)))
    if page is not None:
        routes.append(Mount("/", _Page(page, known)))
    return routes


class _Page(StaticFiles):
    def __init__(self, directory: Path, known: frozenset[str]) -> None:
        super().__init__(directory=directory, html=True)
        self._known = known

    async def get_response(self, path: str, scope: Scope) -> Response:
        if scope["path"] in self._known:  # the router came here because no route takes this method
            raise HTTPException(405)
        response: Response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response
