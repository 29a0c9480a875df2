"""A mail server that stores each mail as a file, and refuses a mail at first where a visitor requests it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

from demo.settings import data
from framework.testing.mailbox import Mailbox


class MailServer(Mailbox):
    """Stores mails in the folder ``mails``, for pages in other processes."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Refuse a mail as often as `refuse_first` says; then store it."""
        name = _name(_header(message_from_bytes(envelope.content, EmailMessage, policy=policy.SMTP), "Message-ID"))
        if _is_refused(folder("refused") / name):
            return "451 4.3.0 Try again later"
        reply = await super().handle_DATA(server, session, envelope)
        part = folder("mails") / f".{name}"
        part.write_bytes(envelope.content)
        part.replace(folder("mails") / name)
        return reply


def refuse_first(task_id: str, times: int) -> None:
    """Have the server refuse a task's mail the first ``times`` times."""
    (folder("refused") / task_id).write_text(str(times))


@dataclass(frozen=True)
class ReceivedMail:
    """A mail as the page displays it."""

    subject: str
    sender: str
    recipient: str
    received_at: datetime
    text: str


def mails() -> Iterator[ReceivedMail]:
    """Yield the stored mails, newest first."""
    stored = [path for path in folder("mails").iterdir() if not path.name.startswith(".")]
    for path in sorted(stored, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        yield _received(path)


def _received(path: Path) -> ReceivedMail:
    mail = message_from_bytes(path.read_bytes(), EmailMessage, policy=policy.SMTP)
    received_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    sender = _header(mail, "Reply-To") or _header(mail, "From")
    return ReceivedMail(_header(mail, "Subject"), sender, _header(mail, "To"), received_at, _text(mail))


def _header(mail: EmailMessage, name: str) -> str:
    """Return a header; empty where the mail has none, or one that cannot be parsed: any program may send a mail."""
    with suppress(Exception):
        return str(mail[name] or "")
    return ""


def _text(mail: EmailMessage) -> str:
    """Return the plain text of a mail; empty where it has none, or in an unknown encoding."""
    with suppress(Exception):
        part = mail.get_body(("plain",))
        return str(part.get_content()) if part else ""
    return ""


def folder(name: str) -> Path:
    """Return a folder of the demo's data."""
    path = data() / name
    path.mkdir(exist_ok=True)
    return path


def _name(message_id: str) -> str:
    """Return the task's id, which the Message-ID begins with; a random one where the mail has none."""
    return "".join(each for each in message_id.partition("@")[0] if each.isalnum() or each == "-") or str(uuid4())


def _is_refused(counter: Path) -> bool:
    left = int(counter.read_text()) if counter.exists() else 0
    if left > 0:
        counter.write_text(str(left - 1))
    return left > 0
