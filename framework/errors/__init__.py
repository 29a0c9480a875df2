"""Every exception of the framework, one tree; `framework.errors.base` says how an error is made.

Each carries its message alone, so that it survives the trip from a worker, and the message names the thing, the cause
and the fix. They are click's exceptions too: a command line (Celery's, Flask's, ours) prints such an error as one
line and exits with 1, without a traceback.
"""

from framework.errors.base import FrameworkError, FrameworkWarning, describe, location
from framework.errors.broker import (
    BrokerError,
    BrokerFileRefused,
    BrokerFileUnavailable,
    BrokerNotReady,
    BrokerRefused,
    BrokerUnreachable,
    MessageRefused,
    NotConfirmed,
    QueueInUse,
    QueueMismatch,
    UnknownQueue,
    UnsupportedBroker,
)
from framework.errors.calls import BadDelay, InvalidArguments, TaskTooLarge, UnknownTask
from framework.errors.cli import (
    AlreadyUp,
    CommandNotFound,
    CommandNotRunnable,
    FolderNotUsable,
    NoWorker,
    PortTaken,
    ResultElsewhere,
    ServiceDied,
    TaskFailed,
    TookTooLong,
)
from framework.errors.data import (
    BadMail,
    BadPeriod,
    BadRows,
    DatabaseRefused,
    DatabaseUnreachable,
    OutsideFolder,
    ScanError,
    TableMismatch,
)
from framework.errors.failures import FailedTasksBusy, FailedTasksUnread, NotATransaction, NotRetried, UnknownFailure
from framework.errors.limits import AlreadyQueued, BadKey, BadLimit, LimitUnavailable, OverLimit
from framework.errors.progress import BadProgress, NoStateReported
from framework.errors.project import (
    BadEnvironment,
    BrokenApp,
    BrokenConfig,
    BrokenTaskModule,
    DiscoveryError,
    DuplicateTask,
    MissingExtra,
    UnknownSetting,
)
from framework.errors.schedule import BadEntries, BadSchedule, UnknownEntry
from framework.errors.testing import (
    BrowserMissing,
    DebianUnreachable,
    ExternalRabbitMQUnusable,
    RabbitMQFailed,
    RabbitMQMissing,
)
from framework.errors.web import BadTaskToken, BrokerAway, ExpiredTaskToken, MissingSecret, NoSocket

__all__ = [
    "AlreadyQueued",
    "AlreadyUp",
    "BadDelay",
    "BadEntries",
    "BadEnvironment",
    "BadKey",
    "BadLimit",
    "BadMail",
    "BadPeriod",
    "BadProgress",
    "BadRows",
    "BadSchedule",
    "BadTaskToken",
    "BrokenApp",
    "BrokenConfig",
    "BrokenTaskModule",
    "BrokerAway",
    "BrokerError",
    "BrokerFileRefused",
    "BrokerFileUnavailable",
    "BrokerNotReady",
    "BrokerRefused",
    "BrokerUnreachable",
    "BrowserMissing",
    "CommandNotFound",
    "CommandNotRunnable",
    "DatabaseRefused",
    "DatabaseUnreachable",
    "DebianUnreachable",
    "DiscoveryError",
    "DuplicateTask",
    "ExpiredTaskToken",
    "ExternalRabbitMQUnusable",
    "FailedTasksBusy",
    "FailedTasksUnread",
    "FolderNotUsable",
    "FrameworkError",
    "FrameworkWarning",
    "InvalidArguments",
    "LimitUnavailable",
    "MessageRefused",
    "MissingExtra",
    "MissingSecret",
    "NoSocket",
    "NoStateReported",
    "NoWorker",
    "NotATransaction",
    "NotConfirmed",
    "NotRetried",
    "OutsideFolder",
    "OverLimit",
    "PortTaken",
    "QueueInUse",
    "QueueMismatch",
    "RabbitMQFailed",
    "RabbitMQMissing",
    "ResultElsewhere",
    "ScanError",
    "ServiceDied",
    "TableMismatch",
    "TaskFailed",
    "TaskTooLarge",
    "TookTooLong",
    "UnknownEntry",
    "UnknownFailure",
    "UnknownQueue",
    "UnknownSetting",
    "UnknownTask",
    "UnsupportedBroker",
    "describe",
    "location",
]

# Results and tracebacks name an exception by its public path, whichever module of the package defines it.
for _name in __all__:
    if isinstance(_class := globals()[_name], type):
        _class.__module__ = __name__
