"""The same for every ASGI server: an application to mount in Starlette, FastAPI or beside Django.

It needs no framework: ``/<token>`` is the last state, ``/<token>/live`` the WebSocket, ``/task-progress.js`` the
script.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from kombu.exceptions import OperationalError

from framework.errors import BadTaskToken, ExpiredTaskToken, FrameworkError
from framework.web.core import LIFETIME, SCRIPT, UNKNOWN_AFTER, LiveStates, as_json, may_come_from, shown
from framework.web.tokens import DAY, Tokens

__all__ = ["TaskProgress"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class TaskProgress:
    """An ASGI application that shows visitors how far their tasks are.

    Args:
        secret: signs addresses; the same in every process. Of several, the last signs.
        visitor: who asks, as text, given the ``scope``; None is nobody, who may watch nothing.
        celery: the Celery application; the framework's own where none is given.
        expires: seconds that an address is good for.
        origins: other sites whose pages may open sockets, such as ``https://www.example.com``.

    Raises:
        framework.errors.MissingSecret: there is no secret.
    """

    def __init__(
        self,
        secret: "str | bytes | Sequence[str | bytes]",
        visitor: Callable[[Scope], str | None],
        *,
        celery: Any = None,
        expires: int = DAY,
        origins: Collection[str] = (),
    ) -> None:
        self.tokens = Tokens(secret, expires)
        self.live = LiveStates(celery)
        self._visitor = visitor
        self._origins = origins

    def path(self, task_id: str, visitor: str) -> str:
        """The path, below where this is mounted, at which ``visitor`` may watch a task."""
        return f"/{self.tokens.make(task_id, visitor)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one socket."""
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        if scope["type"] == "http":
            await self._answer(scope, path, send)
        elif scope["type"] == "websocket":
            await self._live(scope, path.removesuffix("/live"), receive, send)

    async def _answer(self, scope: Scope, path: str, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            return await _reply(send, 405, {"error": "This is only to be read."})
        if path == SCRIPT.name:
            return await _respond(send, 200, SCRIPT.read_bytes(), b"text/javascript; charset=utf-8")
        try:
            task_id = self.tokens.task_id(path, self._visitor(scope))
            state = await asyncio.to_thread(self.live.last, task_id)
        except BadTaskToken as exc:
            return await _reply(send, 403, {"error": exc.message})
        except ExpiredTaskToken as exc:
            return await _reply(send, 410, {"error": exc.message})
        except OperationalError:
            return await _reply(send, 503, {"error": "The broker does not answer."})
        return await _reply(send, 200 if state else 404, shown(state))

    async def _live(self, scope: Scope, token: str, receive: Receive, send: Send) -> None:
        await receive()  # that somebody wants to connect
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin"), headers.get(b"host", b"")
        try:
            if not may_come_from(origin and origin.decode("latin-1"), host.decode("latin-1"), self._origins):
                raise BadTaskToken.here()
            task_id = self.tokens.task_id(token, self._visitor(scope))
        except FrameworkError:
            return await send({"type": "websocket.close", "code": 1008})  # before it is open: 403
        await send({"type": "websocket.accept"})
        gone = asyncio.create_task(_gone(receive))
        telling = asyncio.create_task(self._tell(task_id, send))
        try:
            await asyncio.wait([gone, telling], timeout=LIFETIME, return_when=asyncio.FIRST_COMPLETED)
            if not gone.done() and not (telling.done() and telling.exception()):
                await send({"type": "websocket.close", "code": 1000 if telling.done() else 1001})
        finally:
            await _cancelled(gone, telling)
        return None

    async def _tell(self, task_id: str, send: Send) -> None:
        """Send each state, until the final one was sent."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(news.set)

        newest = self.live.watch(task_id, ring)
        try:
            if not await _within(UNKNOWN_AFTER, news):
                await send(_text(shown(None)))
            while True:
                await news.wait()
                news.clear()
                state = newest.take()
                if state is None:
                    continue
                await send(_text(shown(state)))
                if state.final:
                    return
        finally:
            newest.close()


async def _within(seconds: float, news: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        return await asyncio.wait_for(news.wait(), seconds)
    return False


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _cancelled(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _text(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "websocket.send", "text": as_json(fields)}


async def _reply(send: Send, status: int, fields: dict[str, Any]) -> None:
    await _respond(send, status, as_json(fields).encode(), b"application/json")


async def _respond(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
