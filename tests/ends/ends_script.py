"""A server without any framework: ``shutdown_at_exit`` is all that it does for its end."""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ends.databases import NAMES, SLOW, limit_life, make_container, mark, member
from sqlite_container import Database, SQLiteContainerError, shutdown_at_exit

container = make_container()
stop = threading.Event()


def database(name: str) -> Database:
    found: Database = member(container, name).database()
    return found


def ping() -> object:
    rows = {}
    for name in NAMES:
        with database(name).reader() as db:
            rows[name] = db.execute("SELECT count(*) FROM entry").fetchone()[0]
    return {"rows": rows}


def write(name: str, row: str) -> object:
    with database(name).transaction() as db:
        db.execute("INSERT INTO entry VALUES (?, 'script')", (int(row),))
    return {"id": int(row)}


def slow(name: str) -> object:
    with database(name).reader() as db:
        mark(f"slow-{name}")
        return db.execute(SLOW).fetchone()


def sleep(name: str, milliseconds: str) -> object:
    with database(name).transaction() as db:
        db.execute("INSERT INTO entry VALUES (?, 'sleeping')", (-time.time_ns(),))
        mark(f"sleep-{name}")
        time.sleep(int(milliseconds) / 1000)
    return {}


def finish() -> object:
    stop.set()
    return {}


VIEWS: dict[str, Any] = {
    "ping": ping,
    "write": write,
    "slow": slow,
    "sleep": sleep,
    "finish": finish,
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        view, *arguments = self.path.strip("/").split("/")
        try:
            status, body = 200, VIEWS[view](*arguments)
        except SQLiteContainerError as error:
            status, body = 503, {"error": repr(error)}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Say nothing for each request."""


def main() -> None:
    limit_life()
    shutdown_at_exit(container)
    container.init_resources()
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server.socket:
        try:
            while not stop.wait(0.2):  # a wait without an end may never notice a signal
                pass
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
