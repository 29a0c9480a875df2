"""Mail over SMTP: a visitor's message to the site's owner.

A visitor's text is checked before anything is sent, appears in the body alone (apart from the subject and the reply
address), and goes to one fixed address. The environment variables are read at each call:

==========================  ==================================================  ========================
variable                    what it is                                          default
==========================  ==================================================  ========================
``MAIL_SERVER``             the SMTP server                                     ``localhost``
``MAIL_PORT``               its port                                            ``1025``
``MAIL_USE_TLS``            STARTTLS: encrypt once connected                    no
``MAIL_USE_SSL``            encrypted from the first byte                       no
``MAIL_CA_FILE``            certificates to trust, besides the system's         the system's alone
``MAIL_USERNAME``           the user to log in as                               no login
``MAIL_PASSWORD``           its password
``MAIL_UNENCRYPTED_LOGIN``  whether the password may be sent unencrypted        no
``MAIL_OWNER``              the address that receives the mail                  ``webmaster@localhost``
``MAIL_DEFAULT_SENDER``     the address that the mail is from                   the owner
``MAIL_TEMPLATE``           the text around the message, a ``string.Template``  one of ours
``MAIL_TIMEOUT``            seconds to wait for each answer of the server       ``30``
==========================  ==================================================  ========================

A password is sent over an encrypted connection only, or else nothing is sent; ``MAIL_UNENCRYPTED_LOGIN=yes``
allows it, for a server on the same machine, say.
"""

import ssl
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import localtime, make_msgid
from importlib.resources import files
from pathlib import Path
from smtplib import SMTP, SMTP_SSL
from string import Template
from typing import Self
from urllib.parse import quote

from framework.contrib import env
from framework.contrib.mail_address import SUBJECT_LIMIT, address, many_lines, one_line, visitor_address
from framework.errors import BadEnvironment

__all__ = ["MailSettings", "build_message", "compose", "deliver", "send"]


@dataclass(frozen=True, kw_only=True)
class MailSettings:
    """The mail server, its login and the addresses; times are in seconds."""

    owner: Address
    sender: Address
    server: str = "localhost"
    port: int = 1025
    use_tls: bool = False
    use_ssl: bool = False
    ca_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    unencrypted_login: bool = False
    template: Path | None = None
    timeout: float = 30.0

    @classmethod
    def from_environment(cls) -> Self:
        """Return the settings as the environment variables say now.

        Raises:
            BadEnvironment: a variable cannot be used.
        """
        owner = env.text("MAIL_OWNER", "webmaster@localhost")
        found = cls(
            server=env.text("MAIL_SERVER", cls.server),
            port=env.number("MAIL_PORT", cls.port, least=1, most=65535),
            use_tls=env.flag("MAIL_USE_TLS"),
            use_ssl=env.flag("MAIL_USE_SSL"),
            ca_file=env.file("MAIL_CA_FILE"),
            username=env.text("MAIL_USERNAME"),
            password=env.text("MAIL_PASSWORD"),
            unencrypted_login=env.flag("MAIL_UNENCRYPTED_LOGIN"),
            owner=_configured("MAIL_OWNER", owner),
            sender=_configured("MAIL_DEFAULT_SENDER", env.text("MAIL_DEFAULT_SENDER", owner)),
            template=env.file("MAIL_TEMPLATE"),
            timeout=env.number("MAIL_TIMEOUT", cls.timeout, least=0.1, most=3600.0),
        )
        found.check()
        return found

    def check(self) -> None:
        """Check that the settings go together.

        Raises:
            BadEnvironment: they do not.
        """
        if self.use_tls and self.use_ssl:
            raise BadEnvironment.of("MAIL_USE_TLS", "yes", "no while MAIL_USE_SSL is yes; a server speaks one of them")
        if bool(self.username) != bool(self.password):
            empty = "MAIL_PASSWORD" if self.username else "MAIL_USERNAME"
            raise BadEnvironment.of(empty, "", "set too, since a login takes both a name and a password")
        if not (self.username + self.password).isascii():
            raise BadEnvironment.of(
                "MAIL_PASSWORD", "***", "of ASCII characters, as MAIL_USERNAME; smtplib sends no other"
            )

        if self.username and not (self.use_tls or self.use_ssl or self.unencrypted_login):
            wanted = (
                "yes, or MAIL_USE_SSL yes, since MAIL_PASSWORD is set; MAIL_UNENCRYPTED_LOGIN=yes sends it unencrypted"
            )
            raise BadEnvironment.of("MAIL_USE_TLS", "no", wanted)

    def encryption(self) -> ssl.SSLContext:
        """Return the TLS context that trusts the system's authorities and ``ca_file``."""
        context = ssl.create_default_context()
        if self.ca_file:
            try:
                context.load_verify_locations(self.ca_file)
            except OSError as exc:
                raise BadEnvironment.of("MAIL_CA_FILE", str(self.ca_file), "a file of PEM certificates") from exc
        return context

    def body(self, **parts: str) -> str:
        """Return the template with its ``$sender``, ``$subject`` and ``$text`` filled in."""
        path = self.template or files("framework.contrib") / "templates" / "contact.txt"
        try:
            return Template(path.read_text(encoding="utf-8")).substitute(parts)
        except (OSError, KeyError, ValueError) as exc:
            wanted = f"a UTF-8 text with $sender, $subject and $text, and $$ for a dollar ({exc!r})"
            raise BadEnvironment.of("MAIL_TEMPLATE", str(path), wanted) from exc


def send(sender: str | None = None, subject: str = "Contact", text: str = "", *, key: str | None = None) -> str:
    """Mail a visitor's message to the site's owner; return its Message-ID.

    Args:
        sender: the visitor's address, alone, as ``Ann <ann@example.org>``, or after ``From``; None if there is none.
        subject: one line, at most 200 characters.
        text: at most 100,000 bytes of UTF-8.
        key: the same key gives the same Message-ID, so that a mail sent twice is known to be one; random if None.

    Raises:
        BadMail: a part is refused; nothing was sent.
        BadEnvironment: a setting cannot be used; nothing was sent.
        OSError: the server cannot be reached or did not take the mail (all errors of ``smtplib`` are of this kind).
    """
    settings = MailSettings.from_environment()
    message = compose(settings, sender, subject, text, key=key)
    deliver(message, settings)
    return str(message["Message-ID"])


def compose(
    settings: MailSettings, sender: str | None, subject: str, text: str, *, key: str | None = None
) -> EmailMessage:
    """Return the mail that `send` would send."""
    visitor = None if sender is None else visitor_address(sender)
    parts = {"subject": one_line("subject", subject, SUBJECT_LIMIT), "text": many_lines(text)}
    body = settings.body(sender=str(visitor or "a visitor without an address"), **parts)
    message = build_message(settings, settings.owner, parts["subject"], body, key=key)
    if visitor:
        message["Reply-To"] = visitor
    return message


def build_message(
    settings: MailSettings, recipient: Address, subject: str, body: str, *, key: str | None = None
) -> EmailMessage:
    """Return a mail to one recipient; subject and body are taken as they are."""
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = settings.sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = localtime()
    message["Message-ID"] = _message_id(key, settings.sender.domain)
    message.set_content(body)
    return message


def deliver(message: EmailMessage, settings: MailSettings) -> None:
    """Send a mail to its recipients by way of the server.

    Raises:
        OSError: the server cannot be reached or did not take the mail.
    """
    with closing(_connected(settings)) as server:
        if settings.use_tls:
            server.starttls(context=settings.encryption())
        if settings.username:
            server.login(settings.username, settings.password)
        server.send_message(message, settings.sender.addr_spec, [each.addr_spec for each in message["To"].addresses])
        # The server has the mail now: a QUIT that fails must not cause a second delivery.
        with suppress(OSError):
            server.quit()


def _connected(settings: MailSettings) -> SMTP:
    where = settings.server, settings.port
    if settings.use_ssl:
        return SMTP_SSL(*where, timeout=settings.timeout, context=settings.encryption())
    return SMTP(*where, timeout=settings.timeout)


def _configured(variable: str, value: str) -> Address:
    try:
        return address(value)
    except ValueError as exc:
        raise BadEnvironment.of(variable, value, "an address such as ann@example.org") from exc


def _message_id(key: str | None, domain: str) -> str:
    return make_msgid(domain=domain) if key is None else f"<{quote(key, safe='')}@{domain}>"
