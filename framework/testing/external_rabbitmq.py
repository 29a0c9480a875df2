"""A RabbitMQ server that runs already: tests use virtual hosts of their own on it."""

import json
import os
from collections.abc import Mapping
from typing import Self
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, Request, build_opener
from uuid import uuid4

from framework.errors import ExternalRabbitMQUnusable

__all__ = ["ExternalRabbitMQ"]


class ExternalRabbitMQ:
    """A server on which each test gets a virtual host, which is removed at the end.

    Args:
        url: The server's URL, ``amqp://user:password@host:port//``; the user is an administrator.
        management: The URL of its management plugin; port 15672 of the same host by default.

    Raises:
        ExternalRabbitMQUnusable: A virtual host cannot be made.
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
        """Make an empty virtual host, which no other test uses, and return its URL."""
        name = f"test-{os.getpid()}-{uuid4().hex}"
        self._call("PUT", f"/api/vhosts/{name}", {})
        self._vhosts.append(name)
        permissions = {"configure": ".*", "write": ".*", "read": ".*"}
        self._call("PUT", f"/api/permissions/{name}/{quote(self._user, safe='')}", permissions)
        return urlunsplit(self._parts._replace(path=f"/{name}"))

    def drop_vhost(self, url: str) -> None:
        """Remove a virtual host."""
        name = url.rpartition("/")[2]
        self._vhosts.remove(name)
        self._call("DELETE", f"/api/vhosts/{name}")

    def close(self) -> None:
        """Remove the remaining virtual hosts."""
        for name in [*self._vhosts]:
            self.drop_vhost(name)

    def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self._management + path, data=data, headers=headers, method=method)  # noqa: S310 - the tester's own URL
        try:
            self._opener.open(request, timeout=10).close()
        except (HTTPError, URLError, OSError) as cause:
            raise ExternalRabbitMQUnusable.at(self._management, cause) from cause
