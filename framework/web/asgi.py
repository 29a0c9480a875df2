"""The application for every ASGI server, to mount in Starlette, FastAPI or beside Django.

It needs no web framework: ``/<token>`` is the last state, ``/<token>/live`` the WebSocket, ``/task-progress.js`` the
script.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from kombu.exceptions import OperationalError

from framework.errors import BadTaskToken, ExpiredTaskToken, FrameworkError, NoSocket
from framework.web.core import (
    MAX_SOCKET_SECONDS,
    MAX_SOCKETS,
    MAX_SOCKETS_PER_VISITOR,
    SCRIPT,
    UNKNOWN_AFTER_SECONDS,
    LiveStates,
    SocketShares,
    as_json,
    may_come_from,
    public_view,
)
from framework.web.tokens import DAY_SECONDS, Tokens

__all__ = ["TaskProgress"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class TaskProgress:
    """An ASGI application that serves the progress of tasks to the visitors who started them.

    Args:
        secret: signs addresses; the same in every process. Of several, the last signs.
        visitor: returns the visitor's id for a ``scope``; with None, the visitor may watch no task.
        celery: the Celery application; the framework's own where none is given.
        expires: seconds that an address is valid.
        origins: other sites whose pages may open sockets, such as ``https://www.example.com``.
        max_sockets: sockets in one process; further pages poll.
        visitor_sockets: sockets of one visitor in one process.

    Raises:
        framework.errors.MissingSecret: the secret is empty.
    """

    def __init__(
        self,
        secret: "str | bytes | Sequence[str | bytes]",
        visitor: Callable[[Scope], str | None],
        *,
        celery: Any = None,
        expires: int = DAY_SECONDS,
        origins: Collection[str] = (),
        max_sockets: int = MAX_SOCKETS,
        visitor_sockets: int = MAX_SOCKETS_PER_VISITOR,
    ) -> None:
        self.tokens = Tokens(secret, expires)
        self.live = LiveStates(celery)
        self._visitor = visitor
        self._origins = origins
        self._shares = SocketShares(max_sockets, visitor_sockets)

    def path(self, task_id: str, visitor: str) -> str:
        """Return the path, below the mount point, at which ``visitor`` may watch a task."""
        return f"/{self.tokens.make(task_id, visitor)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request, serve a socket, or close the connection to the broker with the server."""
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        if scope["type"] == "http":
            await self._respond(scope, path, send)
        elif scope["type"] == "websocket":
            await self._live(scope, path.removesuffix("/live"), receive, send)
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await asyncio.to_thread(self.live.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, scope: Scope, path: str, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            return await _reply(send, 405, {"error": "This is only to be read."})
        if path == SCRIPT.name:
            return await _send_response(send, 200, SCRIPT.read_bytes(), b"text/javascript; charset=utf-8")
        try:
            task_id = self.tokens.task_id(path, self._visitor(scope))
            state = await asyncio.to_thread(self.live.last, task_id)
        except BadTaskToken as exc:
            return await _reply(send, 403, {"error": exc.message})
        except ExpiredTaskToken as exc:
            return await _reply(send, 410, {"error": exc.message})
        except OperationalError:
            return await _reply(send, 503, {"error": "The broker does not answer."})
        return await _reply(send, 200 if state else 404, public_view(state))

    async def _live(self, scope: Scope, token: str, receive: Receive, send: Send) -> None:
        await receive()  # the event websocket.connect
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin"), headers.get(b"host", b"")
        try:
            if not may_come_from(origin and origin.decode("latin-1"), host.decode("latin-1"), self._origins):
                raise BadTaskToken.here()
            visitor = self._visitor(scope)
            task_id = self.tokens.task_id(token, visitor)
            self._shares.take(str(visitor))
        except FrameworkError as exc:
            # Before it is accepted: the server responds with 403.
            return await send({"type": "websocket.close", "code": 1013 if isinstance(exc, NoSocket) else 1008})
        try:
            await self._serve(task_id, receive, send)
        finally:
            self._shares.release(str(visitor))
        return None

    async def _serve(self, task_id: str, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        disconnected = asyncio.create_task(_disconnected(receive))
        sending = asyncio.create_task(self._send_states(task_id, send))
        try:
            await asyncio.wait([disconnected, sending], timeout=MAX_SOCKET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not disconnected.done() and not (sending.done() and sending.exception()):
                await send({"type": "websocket.close", "code": 1000 if sending.done() else 1001})
        finally:
            await _cancel(disconnected, sending)

    async def _send_states(self, task_id: str, send: Send) -> None:
        """Send each state, up to the final one."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(arrived.set)

        latest = self.live.watch(task_id, notify)
        try:
            if not await _within(UNKNOWN_AFTER_SECONDS, arrived):
                await send(_text(public_view(None)))
            while True:
                await arrived.wait()
                arrived.clear()
                state = latest.take()
                if state is None:
                    continue
                await send(_text(public_view(state)))
                if state.final:
                    return
        finally:
            latest.close()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        return await asyncio.wait_for(event.wait(), seconds)
    return False


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _text(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "websocket.send", "text": as_json(fields)}


async def _reply(send: Send, status: int, fields: dict[str, Any]) -> None:
    await _send_response(send, status, as_json(fields).encode(), b"application/json")


async def _send_response(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
