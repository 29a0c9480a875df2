"""A real SMTP server that stores the mails it receives: for tests, and to see mail during development."""

import socket
import ssl
from collections.abc import Awaitable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Any, Self

from framework.errors import MissingExtra, PortTaken

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult
except ImportError as exc:
    raise MissingExtra.named("aiosmtpd", "testing") from exc

__all__ = ["Mailbox"]

#: Seconds that the server's thread may take to start: the five of aiosmtpd are few where many tests run.
START_TIMEOUT_SECONDS = 60.0


class Mailbox:
    r"""An SMTP server that runs inside ``with``.

    >>> from smtplib import SMTP
    >>> with Mailbox() as mailbox:
    ...     with SMTP("127.0.0.1", mailbox.port) as server:
    ...         refused = server.sendmail("ann@example.org", "bob@example.org", "Subject: Hello\r\n\r\nHow are you?")
    ...     [message] = mailbox.wait_for(1)
    >>> message["Subject"], message["Return-Path"], message["Delivered-To"]
    ('Hello', 'ann@example.org', 'bob@example.org')

    Args:
        port: the port to listen on; any free port if 0.
        host: the address to listen on; other machines cannot send mail to the default.
        fail_first: how many mails are refused with 451 before the first is accepted.
        login: the user and password that a client must log in with; no login is needed if None.
        certificate: a PEM file; with it, clients must use STARTTLS.
        key: the certificate's private key, unless it is in the same file.

    Raises:
        PortTaken: another program listens on the port.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        fail_first: int = 0,
        login: tuple[str, str] | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.port = port
        self.host = host
        #: The mails received so far, in order, each with its envelope in ``Return-Path`` and ``Delivered-To``.
        self.messages: list[EmailMessage] = []
        #: How many mails were refused with 451.
        self.refused = 0
        self._fail_first = fail_first
        self._login = login
        self._tls = _encryption(certificate, key) if certificate else None
        self._arrived = Condition()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._server = _Server(
            self,
            listener,
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            authenticator=self._authenticate,
            auth_require_tls=False,
            ready_timeout=START_TIMEOUT_SECONDS,
        )
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()

    def wait_for(self, count: int, timeout: float = 10.0) -> list[EmailMessage]:
        """Wait until there are ``count`` mails, and return them.

        Raises:
            TimeoutError: there are fewer after ``timeout`` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} mails arrived within {timeout} seconds.")
            return list(self.messages)

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:  # noqa: ARG002
        known = self._login is not None and (given.login.decode(), given.password.decode()) == self._login
        return AuthResult(success=known, handled=False)

    async def handle_MAIL(  # noqa: N802
        self,
        server: Any,  # noqa: ARG002
        session: Any,
        envelope: Any,
        address: str,
        options: list[str],
    ) -> str:
        """Refuse the sender where a login is needed, or store it."""
        if self._login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802
        """Store a mail, or refuse it with 451."""
        with self._arrived:
            if self.refused < self._fail_first:
                self.refused += 1
                return "451 4.3.0 Try again later"
            self.messages.append(_received(envelope))
            self._arrived.notify_all()
        return "250 OK"


class _Server(Controller):
    """aiosmtpd's server in a thread, on a socket that is already bound: with port 0, the port is known."""

    def __init__(self, handler: Mailbox, listener: socket.socket, **options: Any) -> None:
        super().__init__(handler, hostname=handler.host, port=handler.port, **options)
        self._listener = listener

    def _create_server(self) -> Awaitable[Any]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as exc:
        raise PortTaken.at(host, port, exc) from exc


def _encryption(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def _received(envelope: Any) -> EmailMessage:
    message = message_from_bytes(envelope.content, EmailMessage, policy=policy.SMTP)
    message["Return-Path"] = envelope.mail_from
    message["Delivered-To"] = ", ".join(envelope.rcpt_tos)
    return message
