"""Every exception of the framework, one tree.

Each carries its message alone, so that it survives the trip from a worker, and the message names the thing, the cause
and the cure. They are click's exceptions too: a command line (Celery's, Flask's, ours) prints such an error as one
line and exits with 1, without a traceback.
"""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb
from typing import Self

from click import ClickException
from kombu.exceptions import OperationalError


class FrameworkError(ClickException):
    """The root of them all."""


class FrameworkWarning(UserWarning):
    """Something works, but not in the way it should be written."""


class BrokerError(FrameworkError, OperationalError):
    """The broker could not do what was asked; caught also by ``except kombu.exceptions.OperationalError``."""


class BrokerUnreachable(BrokerError):
    """The configured broker does not answer; nothing was queued."""

    @classmethod
    def at(cls, url: str, cause: BaseException) -> Self:
        """Name the broker by its ``url`` (already without password), the cause, and both ways out."""
        return cls(
            f"The broker {url} cannot be used: {cause or type(cause).__name__}. Nothing was queued. "
            "Start it (`sudo rabbitmq-server`), or set CELERY_BROKER_URL to one that runs; on a laptop, "
            "`framework up` and CELERY_BROKER_URL=sqlite:///broker.db need no server."
        )


class NotConfirmed(BrokerUnreachable):
    """The task was sent, and the broker did not say that it has it: it may be queued, or not."""

    @classmethod
    def by(cls, url: str, cause: BaseException, task_id: str) -> Self:
        """Name the broker by its ``url`` (already without password), the cause, and the id to call again with."""
        return cls(
            f"The broker {url} was sent the task and did not confirm it: {cause or type(cause).__name__}. It may have "
            f"been queued, with the id {task_id}. Calling again with task_id={task_id!r} loses nothing; if both "
            "arrive, it runs twice with that one id."
        )


class QueueMismatch(BrokerError):
    """A queue or an exchange exists with other arguments than it is declared with; nothing was queued."""

    @classmethod
    def of(cls, thing: str, url: str, differing: Iterable[tuple[str, object, object]], cure: str) -> Self:
        """Name it, the broker by its ``url`` (already without password), and each argument: its name, ours, theirs."""
        told = "; ".join(f"{name} is {_set(theirs)} there and {_set(ours)} here" for name, ours, theirs in differing)
        return cls(
            f"The {thing} of the broker {url} exists with other arguments: {told}. No broker changes them, and until "
            f"they agree nothing is queued there. {cure}"
        )


class QueueInUse(BrokerError):
    """A queue cannot be made anew while somebody works on it; nothing was lost, and what was moved is kept."""

    @classmethod
    def named(cls, name: str, by: str) -> Self:
        """Name the queue and who uses it."""
        return cls(
            f"The queue {name!r} is in use by {by}. Stop workers and callers, then run this again: it goes on where "
            "it ended, and nothing is lost."
        )


class UnknownQueue(FrameworkError):
    """The application has no queue of that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown, and which ones there are."""
        return cls(f"No queue of this application is called {name!r}. There are: {_listed(known)}.")


class BrokerFileRefused(BrokerError):
    """What ``sqlite:///`` names cannot be an embedded broker; it was left as it was, and trying again will not help."""


class BrokerFileUnavailable(BrokerError):
    """The embedded broker's file cannot be used right now; nothing was queued, nothing was lost. Try again later."""


class BrokerRefused(BrokerError):
    """The configured broker answers and refuses the login or the virtual host; nothing was queued."""

    @classmethod
    def by(cls, url: str, cause: BaseException) -> Self:
        """Name the broker by its ``url`` (already without password), and what it said."""
        return cls(
            f"The broker {url} refuses the connection: {cause}. Nothing was queued. "
            "Check user, password and virtual host in broker_url or CELERY_BROKER_URL."
        )


class UnknownSetting(FrameworkError):
    """A name in the configuration is no setting."""

    @classmethod
    def named(cls, name: str, close: Collection[str], place: str) -> Self:
        """Say which name is unknown, where it stands and which one is nearest."""
        cure = f"Did you mean {next(iter(close))!r}?" if close else "A name of your own starts with an underscore."
        return cls(
            f"{place}: {name!r} is not a setting. {cure} "
            "(A setting of another package is declared with third_party_settings.)"
        )


class BrokenConfig(FrameworkError):
    """The configuration module was asked for and is missing, or cannot be imported."""


class DiscoveryError(FrameworkError):
    """Tasks could not be looked for."""


class BrokenTaskModule(FrameworkError):
    """A task module cannot be imported."""

    @classmethod
    def named(cls, module: str, cause: BaseException, path: Path | None) -> Self:
        """Say which module, in which file and line, and why."""
        return cls(f"The task module {module} cannot be imported ({where(cause, path)}): {described(cause)}")


class DuplicateTask(FrameworkError):
    """Two functions want one task name."""

    @classmethod
    def named(cls, name: str, first: str, second: str) -> Self:
        """Name both places."""
        return cls(
            f"Two tasks are called {name!r}: {first} and {second}. "
            "Rename one of the functions, or give it a name of its own: @celery.task(name=...)."
        )


class BadDelay(FrameworkError, ValueError):
    """A ``countdown`` or ``eta`` cannot be waited for; nothing was queued."""

    @classmethod
    def of(cls, given: object, cause: BaseException) -> Self:
        """Name what was given and what is wrong with it."""
        return cls(
            f"A task cannot wait for {given!r}: {cause}. Nothing was queued. "
            "countdown is a number of seconds, eta a datetime, at most a hundred years from now."
        )


class BadSchedule(FrameworkError, ValueError):
    """What an entry's ``schedule`` says cannot be followed."""

    @classmethod
    def of(cls, schedule: object, fault: str, cure: str) -> Self:
        """Say which schedule, what is wrong with it, and what would be right."""
        return cls(f"The schedule {schedule!r} cannot be followed: {fault}. {cure}")

    @classmethod
    def in_entry(cls, entry: str, cause: "BadSchedule") -> Self:
        """Say which entry it stands in."""
        return cls(f"The entry {entry!r}: {cause.message}")


class BadEntries(FrameworkError, ValueError):
    """Entries of the beat schedule cannot be scheduled; nothing was started."""

    @classmethod
    def of(cls, faults: Collection[str]) -> Self:
        """Say what is wrong with each."""
        return cls("\n".join(["The beat schedule cannot be followed, so nothing was started.", *faults]))


class UnknownEntry(FrameworkError):
    """No entry of the beat schedule has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        close = get_close_matches(name, known, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else "`framework schedule list` shows them."
        return cls(f"No entry of the beat schedule is called {name!r}. {cure}")


class UnknownTask(FrameworkError):
    """No task has that name."""

    @classmethod
    def named(cls, name: str, known: Collection[str]) -> Self:
        """Say which name is unknown and which of the ``known`` ones is nearest."""
        close = get_close_matches(name, known, n=1)
        cure = f"Did you mean {close[0]!r}?" if close else "`framework tasks` lists every name."
        return cls(
            f"No task is called {name!r}. {cure} (A task of another project is declared with task_remote_names.)"
        )


class WrongArguments(FrameworkError, TypeError):
    """The arguments do not fit the task; nothing was queued."""

    @classmethod
    def of(cls, name: str, signature: object, cause: BaseException) -> Self:
        """Say what does not fit which signature."""
        return cls(f"{name}{signature}: {cause}. Nothing was queued.")


class BadEnvironment(FrameworkError, ValueError):
    """An environment variable has a value that cannot be used."""

    @classmethod
    def of(cls, name: str, value: str, wanted: str) -> Self:
        """Say which variable, what it says, and what it should."""
        return cls(f"The environment variable {name} is {value!r}: it must be {wanted}.")


class BadMail(FrameworkError, ValueError):
    """A mail was refused before anything was sent."""

    @classmethod
    def of(cls, part: str, fault: str, cure: str) -> Self:
        """Say which part of the mail has which fault, and what would be right; never what a visitor wrote."""
        return cls(f"The mail's {part} {fault}. {cure} Nothing was sent.")


class BadRows(FrameworkError, ValueError):
    """Rows were refused before anything was written."""


class OutsideFolder(FrameworkError, ValueError):
    """A file name leads out of the folder it must stay in."""

    @classmethod
    def named(cls, name: object, folder: Path) -> Self:
        """Name both."""
        return cls(f"{str(name)!r} is not a file inside the folder {folder}. Give a name relative to that folder.")


class ScanError(FrameworkError):
    """A file could not be scanned."""


class MissingExtra(FrameworkError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def named(cls, package: str, extra: str) -> Self:
        """Say which package is missing and how it comes."""
        return cls(f'The package {package} is not installed. pip install "omstd-framework[{extra}]"')


class PortTaken(FrameworkError, OSError):
    """A server cannot listen where it should."""

    @classmethod
    def at(cls, host: str, port: int, cause: OSError) -> Self:
        """Name the address and the cause."""
        return cls(f"Cannot listen on {host}, port {port}: {cause.strerror}. Stop what uses it, or take another port.")


class BrokerNotReady(BrokerError):
    """The services cannot be started: their broker cannot be used."""

    @classmethod
    def at(cls, url: str, cause: object, cure: str) -> Self:
        """Name the broker by its ``url`` (already without password), the cause and the cure."""
        return cls(f"The broker {url} cannot be used: {cause}. {cure}")


class FolderNotUsable(FrameworkError):
    """The folder for the launcher's own files cannot be used."""

    @classmethod
    def at(cls, path: Path, cause: OSError) -> Self:
        """Name what cannot be written, and why."""
        return cls(
            f"{path} cannot be written: {cause.strerror}. `framework up` keeps its broker and logs there: "
            "run it in a folder that you may write to."
        )


class AlreadyUp(FrameworkError):
    """Another ``framework up`` runs in this folder."""

    @classmethod
    def at(cls, folder: Path, pid: str) -> Self:
        """Name the folder and the process."""
        return cls(
            f"`framework up` runs in {folder.parent} already (process {pid}). Stop that one first, or use its broker: "
            f"CELERY_BROKER_URL=sqlite:///{folder / 'broker.db'}"
        )


class ServiceDied(FrameworkError):
    """The worker or beat ended by itself."""

    #: As in sysexits.h: software that ended unexpectedly.
    exit_code = 70

    @classmethod
    def of(cls, how: str, name: str, log: Path | None, last_lines: Collection[str]) -> Self:
        """Say how which service ended, what it said last, and where the rest is."""
        where_to_look = f"Its output is in {log}" if log else "Its output is above"
        return cls("\n    ".join([f"The {name} {how}. {where_to_look}{':' if last_lines else '.'}", *last_lines]))


class CommandNotFound(FrameworkError):
    """The command to run does not exist."""

    exit_code = 127

    @classmethod
    def named(cls, name: str) -> Self:
        """Name it."""
        return cls(f"There is no command {name!r}. Check its spelling, or give its path: framework up -- ./{name}")


class CommandNotRunnable(FrameworkError):
    """The command to run exists and cannot be started."""

    exit_code = 126

    @classmethod
    def named(cls, name: str, cause: OSError) -> Self:
        """Name it, and why."""
        return cls(f"The command {name!r} cannot be run: {cause.strerror}. Is it executable? (chmod +x {name})")


class NoWorker(FrameworkError):
    """Tasks were queued and no worker is there to run them."""

    @classmethod
    def at(cls, url: str) -> Self:
        """Name the broker by its ``url`` (already without password), and how a worker is started."""
        return cls(
            f"No worker answers at {url}: start one with `framework worker` in another terminal. "
            "What was queued waits for it."
        )


class TaskFailed(FrameworkError):
    """A task that was waited for failed."""

    @classmethod
    def named(cls, what: str, cause: BaseException) -> Self:
        """Say which task, and why."""
        return cls(f"{what} failed: {cause.message if isinstance(cause, FrameworkError) else described(cause)}")


class TookTooLong(FrameworkError):
    """What was waited for did not come in time."""

    @classmethod
    def named(cls, what: str, seconds: float, state: str) -> Self:
        """Say what, for how long, and how far it is."""
        return cls(f"{what} is not done after {seconds:g} s ({state}). The worker's output says what it is doing.")


class FailedTasksBusy(FrameworkError):
    """Somebody else reads the queue of failed tasks."""

    @classmethod
    def at(cls, queue: str) -> Self:
        """Name the queue."""
        return cls(
            f"Another `framework failed`, or some other reader of the queue {queue!r}, is at work. "
            "Nothing was changed; try again when it is done."
        )


class FailedTasksUnread(BrokerError):
    """The broker has failed tasks and does not hand them over."""

    @classmethod
    def of(cls, queue: str, seconds: float) -> Self:
        """Name the queue and how long it was waited for."""
        return cls(
            f"The broker has more messages in the queue {queue!r} and sent none for {seconds:g} s. "
            "What was not done yet is still there; see the broker's log and try again."
        )


class UnknownFailure(FrameworkError):
    """No failed task has that id."""

    @classmethod
    def named(cls, ids: Collection[str], known: Collection[str]) -> Self:
        """Say which ids are unknown and which of the ``known`` ones is nearest to the first."""
        first = next(iter(ids))
        near = [*(each for each in known if first and each.startswith(first)), *get_close_matches(first, known, n=1)]
        cure = f"Did you mean {near[0]!r}?" if near else "`framework failed list` shows them."
        return cls(f"No failed task has the id {', '.join(map(repr, ids))}. {cure}")


class NotSentAgain(FrameworkError):
    """Failed tasks could not be sent again; they are still among the failed ones."""

    @classmethod
    def of(cls, refused: Mapping[str, str], sent: int) -> Self:
        """Say how many, and why the first one.

        Args:
            refused: the cause for each id.
            sent: how many others were sent.
        """
        first, cause = next(iter(refused.items()))
        rest = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        return cls(
            f"The failed task {first}{rest} could not be sent again: {cause}. It stays in `framework failed list`; "
            f"{sent} other{'s were' if sent != 1 else ' was'} sent."
        )


class BadLimit(FrameworkError, ValueError):
    """A limit cannot be kept as it is written."""

    @classmethod
    def of(cls, rate: object, fault: str) -> Self:
        """Say which, what is wrong, and how a limit is written."""
        return cls(
            f"The limit {rate!r} cannot be kept: {fault}. A limit is N/[M]unit, with s, m, h or d (or second, minute, "
            "hour, day) as the unit: '1/10s', '5/minute', '100/2h'."
        )

    @classmethod
    def unique(cls, fault: str) -> Self:
        """Say what is wrong with what makes a task unique."""
        return cls(f"A task cannot be unique like this: {fault}. Write unique=True, or unique=Unique(key='report').")

    @classmethod
    def on(cls, task: str, fault: str, cure: str) -> Self:
        """Say on which task it stands, what is wrong, and what would be right."""
        return cls(f"The task {task} cannot be limited or unique like this: {fault}. {cure}")


class BadKey(FrameworkError, ValueError):
    """There is nothing to count by; nothing was counted or queued."""

    @classmethod
    def of(cls, value: object, fault: str) -> Self:
        """Say what kind of value it is, never the value."""
        return cls(
            f"A {type(value).__name__} cannot be counted by: {fault}. Give a text or a number that is the same for "
            "the same visitor, such as his address or id."
        )

    @classmethod
    def missing(cls, key: str, task: str) -> Self:
        """Name the argument and the task."""
        return cls(f"{task} is limited, or unique, by {key}, which is None in this call. Nothing was queued; pass it.")


class OverLimit(FrameworkError):
    """There were too many in this time; nothing was queued. ``retry_after`` is the seconds until there is room."""

    retry_after = 0.0

    @classmethod
    def of(cls, name: str | None, rate: str, retry_after: float) -> Self:
        """Name the limit, its rate and when to come back."""
        error = cls(f"Too many: {name or 'this'} is limited to {rate}. Try again in {retry_after:.1f} s.")
        error.retry_after = retry_after
        return error


class AlreadyQueued(FrameworkError):
    """A unique task is queued or running already; nothing more was queued. ``id`` is the first one's."""

    id = ""

    @classmethod
    def by(cls, task: str, task_id: str) -> Self:
        """Name the task, and the id of the one that is there."""
        error = cls(f"{task} is queued or running already, as {task_id or 'one that is just being queued'}.")
        error.id = task_id
        return error


class NothingTold(FrameworkError):
    """Nothing is known of a task that was to be watched."""

    @classmethod
    def of(cls, task_id: str, seconds: float) -> Self:
        """Name the task and how long it was waited for."""
        return cls(
            f"Nothing was heard of the task {task_id!r} within {seconds:g} s. Is that its id? A task is told of when "
            "it says track=True or reports its progress, and for a while after its end (task_state_expires)."
        )


class NotATransaction(FrameworkError, TypeError):
    """A database connection cannot keep an effect and its key together; nothing was written."""

    @classmethod
    def here(cls, cure: str) -> Self:
        """Say how a transaction is begun."""
        return cls(
            f"The connection commits every statement by itself, so an effect and its key could be separated; {cure}."
        )

    @classmethod
    def unknown(cls, kind: type) -> Self:
        """Name the class of the connection."""
        return cls(
            f"{kind.__module__}.{kind.__qualname__} is no connection that once() knows: give it one of sqlite3 or "
            "psycopg, or SQLAlchemy's Connection or Session on SQLite or PostgreSQL."
        )


class BadPeriod(FrameworkError, ValueError):
    """A number of days or months cannot be used; nothing was changed."""

    @classmethod
    def check(cls, name: str, value: object, *, least: int, most: int) -> None:
        """Refuse what is no whole number from ``least`` to ``most``, by its ``name``."""
        if type(value) is not int or not least <= value <= most:
            raise cls(f"{name} is {value!r}: it must be a whole number from {least} to {most}. Nothing was changed.")


class DatabaseUnreachable(FrameworkError, OSError):
    """The database does not answer; trying again may help."""

    @classmethod
    def at(cls, url: str, cause: BaseException) -> Self:
        """Name the database by its ``url`` (already without password), and the cause."""
        return cls(
            f"The database {url} cannot be used: {_one_line(cause)}. What was committed stays. "
            "Start it, or set DATABASE_URL to one that runs."
        )


class DatabaseRefused(FrameworkError):
    """The database answers and does not do what is asked; trying again will not help."""

    @classmethod
    def by(cls, url: str, cause: BaseException) -> Self:
        """Name the database by its ``url`` (already without password), and what it said."""
        return cls(
            f"The database {url} refuses: {_one_line(cause)}. That transaction was undone. "
            "Check the rights of the user in DATABASE_URL, and what the table's constraints ask for."
        )


class TableMismatch(FrameworkError):
    """A table of the database is not as a task needs it; nothing was changed."""

    @classmethod
    def missing(cls, table: str, url: str, there: Collection[str]) -> Self:
        """Name the table, the database by its ``url`` (already without password), and the tables it has."""
        return cls(
            f"The database {url} has no table {table!r}; it has {_listed(there)}. "
            "Check DATABASE_URL, or name your table: CARDS_TABLE, ACCOUNTS_TABLE."
        )

    @classmethod
    def without_column(cls, table: str, column: str, url: str, there: Collection[str]) -> Self:
        """Name the column, its table, and the columns that it has."""
        return cls(
            f"The table {table!r} of {url} has no column {column!r}; it has {_listed(there)}. "
            "Add it, or say which one is meant: CARDS_COLUMNS, ACCOUNTS_COLUMNS."
        )

    @classmethod
    def of_type(cls, table: str, column: str, url: str, found: str, wanted: str) -> Self:
        """Name the column, the type it has and the type it should have."""
        return cls(
            f"The column {column!r} of the table {table!r} of {url} is {found}: it must be {wanted}. "
            "Change it, or name another: CARDS_COLUMNS, ACCOUNTS_COLUMNS."
        )


def _one_line(cause: BaseException) -> str:
    return " ".join(described(cause).split()).rstrip(".")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _set(value: object) -> str:
    return "not set" if value is None else repr(value)


def described(cause: BaseException) -> str:
    """An exception in one line: ``ValueError: too long``."""
    return f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__


def where(cause: BaseException, path: Path | None) -> str:
    """The file and line that an exception came from: in ``path``, the file being imported, where it passed there."""
    if isinstance(cause, SyntaxError):
        return f"{cause.filename}, line {cause.lineno}"
    inside = [frame for frame in extract_tb(cause.__traceback__) if path is not None and Path(frame.filename) == path]
    if inside:
        return f"{path}, line {inside[-1].lineno}"
    return str(path or "there is no such file")
