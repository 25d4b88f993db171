"""The server with scripted engines, run as ``serve`` runs it: ``python scripted_child.py``; settings as always.

Answers each prompt with itself, at the pace of speech, and says where it is on standard output, as ``serve`` does.
"""

from __future__ import annotations

import uvloop

from server.app import Application
from server.listening import listen
from server.observability.logs import configure_logging
from server.serving import running, serve_until_signalled
from server.settings import load_settings
from tests.scripted_server import scripted_engines


async def main() -> None:
    settings = load_settings(port=0)
    configure_logging(settings.log)
    application = Application(settings, engines=scripted_engines())
    async with running(application, listen(settings.host, settings.port)) as server:
        await application.wait_ready()
        print(f"Convergio Voice (scripted)  open {server.url}", flush=True)
        await serve_until_signalled(application, server)


if __name__ == "__main__":
    uvloop.run(main())
