"""The ASGI application behind a real server."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from framework.testing.rabbitmq import free_ports
from framework.web.asgi import TaskProgress

WAIT = 30


@contextmanager
def served(application):
    """Serve an application, with its lifespan, from a thread; return the address."""
    [port] = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(application, port=port, lifespan="on", log_level="error"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
    thread.start()
    try:
        for _ in range(600):
            if server.started:
                break
            time.sleep(0.05)
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(WAIT)
    assert not thread.is_alive()


def visitor(scope):
    return dict(scope["headers"]).get(b"visitor", b"").decode() or None


@pytest.fixture
def progress(app):
    return TaskProgress("secret", visitor, celery=app, max_sockets=3, visitor_sockets=2)


def test_a_visitor_has_a_share_of_the_sockets_of_an_asgi_server(progress):
    """B5."""
    with served(progress) as (_, address):

        def watch(name):
            return connect(
                f"{address}{progress.path('task', name)}/live", additional_headers={"visitor": name}, proxy=None
            ).__enter__()

        first, second = watch("ann"), watch("ann")
        with pytest.raises(InvalidStatus, match="403"):
            watch("ann")
        third = watch("ben")
        with pytest.raises(InvalidStatus, match="403"):
            watch("eve")
        assert json.loads(first.recv(WAIT))["status"] == "unknown"
        first.close()

        fourth = eventually_opened(lambda: watch("eve"))
        for each in (second, third, fourth):
            each.close()


def test_the_application_starts_and_ends_with_its_server(progress):
    """Section D: the lifespan of an ASGI server raised KeyError."""
    with served(progress) as (server, _):
        assert server.started
        progress.live.watch("task", lambda: None)

    assert progress.live._watcher is None


def eventually_opened(open_socket):
    """Open a socket once the number of open ones allows it."""
    for _ in range(300):
        try:
            return open_socket()
        except InvalidStatus:
            time.sleep(0.1)
    raise AssertionError("no socket could be opened")
