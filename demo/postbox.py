"""The mail server: each mail becomes a file, and it can be told to refuse one at first."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from demo.settings import data
from framework.testing.mailbox import Mailbox


class Postbox(Mailbox):
    """Keeps what it takes in the folder ``mails``, for pages in other processes."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Refuse a mail as often as was asked for; then take it."""
        name = _name(message_from_bytes(envelope.content, EmailMessage, policy=policy.SMTP)["Message-ID"])
        if _refuse_again(folder("refused") / name):
            return "451 4.3.0 Try again later"
        answer = await super().handle_DATA(server, session, envelope)
        part = folder("mails") / f".{name}"
        part.write_bytes(envelope.content)
        part.replace(folder("mails") / name)
        return answer


def refuse_at_first(task_id: str, times: int) -> None:
    """Have the server refuse a task's mail ``times`` times."""
    (folder("refused") / task_id).write_text(str(times))


def mails() -> Iterator[EmailMessage]:
    """What the server took, newest first."""
    taken = [path for path in folder("mails").iterdir() if not path.name.startswith(".")]
    for path in sorted(taken, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        yield message_from_bytes(path.read_bytes(), EmailMessage, policy=policy.SMTP)


def folder(name: str) -> Path:
    """A folder of the demo's data."""
    path = data() / name
    path.mkdir(exist_ok=True)
    return path


def _name(message_id: str) -> str:
    """The task's id, which the Message-ID begins with."""
    return "".join(each for each in message_id.partition("@")[0] if each.isalnum() or each == "-")


def _refuse_again(told: Path) -> bool:
    left = int(told.read_text()) if told.exists() else 0
    if left > 0:
        told.write_text(str(left - 1))
    return left > 0
