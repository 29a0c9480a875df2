"""A RabbitMQ that somebody else runs, used by tests without touching what is on it."""

import json
import os
from collections.abc import Mapping
from typing import Self
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, Request, build_opener
from uuid import uuid4

from framework.errors import RabbitMQNotLent


class BorrowedRabbitMQ:
    """A server that tests may use: each gets a virtual host of its own there, removed at the end.

    Args:
        url: Where it is, ``amqp://user:password@host:port//``; the user is an administrator.
        management: Where its management plugin answers; port 15672 of the same host when not given.

    Raises:
        RabbitMQNotLent: A virtual host cannot be made.
    """

    def __init__(self, url: str, management: str | None = None) -> None:
        self.url = url
        self._parts = urlsplit(url)
        self._user = unquote(self._parts.username or "guest")
        self._management = (management or f"http://{self._parts.hostname}:15672").rstrip("/")
        self._vhosts: list[str] = []
        passwords = HTTPPasswordMgrWithDefaultRealm()
        password = unquote(self._parts.password or "guest")
        passwords.add_password(None, self._management, self._user, password)
        self._opener = build_opener(HTTPBasicAuthHandler(passwords))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def vhost(self) -> str:
        """The URL of a new, empty virtual host, so that one test sees nothing of another."""
        name = f"test-{os.getpid()}-{uuid4().hex}"
        self._call("PUT", f"/api/vhosts/{name}", {})
        self._vhosts.append(name)
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._call("PUT", f"/api/permissions/{name}/{quote(self._user, safe='')}", rights)
        return urlunsplit(self._parts._replace(path=f"/{name}"))

    def drop_vhost(self, url: str) -> None:
        """Remove a virtual host."""
        name = url.rpartition("/")[2]
        self._vhosts.remove(name)
        self._call("DELETE", f"/api/vhosts/{name}")

    def close(self) -> None:
        """Remove the virtual hosts that are left."""
        for name in [*self._vhosts]:
            self.drop_vhost(name)

    def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self._management + path, data=data, headers=headers, method=method)  # noqa: S310 - the tester's own URL
        try:
            self._opener.open(request, timeout=10).close()
        except (HTTPError, URLError, OSError) as cause:
            raise RabbitMQNotLent.at(self._management, cause) from cause
