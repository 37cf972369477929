"""A small HTTP load generator: keep-alive connections to 127.0.0.1, bounded in number and time.

As a script it prints the pickled result. Every connection has one request on its way; a request
is an error if the answer is not 200, or does not come.
"""

from __future__ import annotations

import pickle
import random
import selectors
import socket
import sys
from array import array
from dataclasses import dataclass, field
from time import perf_counter

from harness.measure import ROWS

GRACE = 6.0
"""Seconds to wait for what is on its way when the time is up."""
_LARGEST = 65536


@dataclass
class Load:
    """Seconds of each request that was answered, and how many failed."""

    times: array[float] = field(default_factory=lambda: array("d"))
    errors: int = 0


@dataclass
class _Client:
    socket: socket.socket
    sent: float = 0.0
    received: bytes = b""


class Generator:
    """Drives a few connections in one thread."""

    def __init__(self, port: int, writes: float, seed: int) -> None:
        self._port = port
        self._writes = writes
        self._random = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self.load = Load()

    def run(self, connections: int, seconds: float) -> Load:
        """Send for so many seconds, then wait for the rest."""
        end = perf_counter() + seconds
        for _ in range(connections):
            self._start()
        while perf_counter() < end + GRACE and self._selector.get_map():
            for key, _ in self._selector.select(timeout=0.1):
                self._receive(key.data, again=perf_counter() < end)
        for key in list(self._selector.get_map().values()):
            self._drop(key.data)
            self.load.errors += 1
        return self.load

    def _start(self) -> None:
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=GRACE)
        except OSError:
            self.load.errors += 1
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._send(client)

    def _send(self, client: _Client) -> None:
        method = "POST" if self._random.random() < self._writes else "GET"
        number = self._random.randint(1, ROWS)
        head = f"{method} /item/{number} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
        client.received = b""
        client.sent = perf_counter()
        try:
            client.socket.sendall(head.encode())
        except OSError:
            self._fail(client, again=False)

    def _receive(self, client: _Client, *, again: bool) -> None:
        try:
            part = client.socket.recv(_LARGEST)
        except OSError:
            part = b""
        client.received += part
        if not part:
            self._fail(client, again=again)
        elif _complete(client.received):
            self._answered(client, again=again)

    def _answered(self, client: _Client, *, again: bool) -> None:
        if client.received.startswith(b"HTTP/1.1 200 "):
            self.load.times.append(perf_counter() - client.sent)
        else:
            self.load.errors += 1
        if b"\r\nconnection: close" in client.received.lower():
            self._drop(client)
            if again:
                self._start()
        elif again:
            self._send(client)
        else:
            self._drop(client)

    def _fail(self, client: _Client, *, again: bool) -> None:
        self.load.errors += 1
        self._drop(client)
        if again:
            self._start()

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()


def _complete(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False


if __name__ == "__main__":
    port, connections, seconds, writes, seed = sys.argv[1:]
    result = Generator(int(port), float(writes), int(seed)).run(int(connections), float(seconds))
    sys.stdout.buffer.write(pickle.dumps((result.times, result.errors)))
