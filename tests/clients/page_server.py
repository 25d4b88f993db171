"""Serves a browser client's page and an SDK's files from this machine: another origin than the server's."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def page_server(directories: Mapping[str, Path]) -> Iterator[str]:
    """Serves ``/NAME/file`` from the directory of that name until left; the origin, ``http://localhost:PORT``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, rest = self.path.partition("/")
            name, _, file = rest.partition("?")[0].partition("/")
            path = directories[name] / file if name in directories and "/" not in file else None
            if path is None or not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            kind = "text/javascript" if path.suffix == ".mjs" else mimetypes.guess_type(path.name)[0]
            self.send_response(200)
            self.send_header("Content-Type", kind or "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)
