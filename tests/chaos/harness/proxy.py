"""A TCP proxy on loopback whose connections can be reset or go silent."""

import select
import socket
import struct
import threading
from contextlib import suppress
from typing import Self

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Proxy:
    """A proxy between a client and ``port``, inside the ``with``."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._orders, self._ordered = socket.socketpair()
        self._silent = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._order(b"q")
        self._thread.join(60)
        for end in (self._listener, self._orders, self._ordered):
            end.close()

    def reset(self) -> None:
        """Cut every connection as a firewall does: both sides get a reset."""
        self._order(b"r")

    def silence(self) -> None:
        """Stop forwarding in both directions, and keep the connections open."""
        self._order(b"s")

    def resume(self) -> None:
        """Forward again, first what was held back."""
        self._order(b"c")

    def _order(self, order: bytes) -> None:
        self._orders.sendall(order)

    def _run(self) -> None:
        orders = {b"r": self._reset_all, b"s": self._silence, b"c": self._resume}
        while True:
            watched = [self._ordered] if self._silent else [self._ordered, self._listener, *self._peers]
            readable = select.select(watched, [], [])[0]
            if self._ordered in readable:
                order = self._ordered.recv(1)
                if order == b"q":
                    self._reset_all()
                    return
                orders[order]()
                continue
            for source in readable:
                self._accept() if source is self._listener else self._pass_on(source)

    def _silence(self) -> None:
        self._silent = True

    def _resume(self) -> None:
        self._silent = False

    def _reset_all(self) -> None:
        for end in list(self._peers):
            self._close(end, RESET_ON_CLOSE)

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            client.close()
            return
        for end, other in ((client, server), (server, client)):
            end.settimeout(5)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[end] = other

    def _pass_on(self, source: socket.socket) -> None:
        sink = self._peers.get(source)
        if sink is None:
            return
        try:
            data = source.recv(1 << 16)
            sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(source)

    def _close(self, end: socket.socket, linger: bytes | None = None) -> None:
        for one in (end, self._peers.get(end)):
            if one is not None and self._peers.pop(one, None) is not None:
                with suppress(OSError):
                    if linger:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                one.close()
