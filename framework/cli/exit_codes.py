"""The exit statuses of ``framework``, besides those of the COMMAND that ``framework up`` runs."""

from framework.errors import CommandNotFound, CommandNotRunnable, FrameworkError, ServiceDied

__all__ = ["FAILED", "KILLED_BY", "NOT_FOUND", "NOT_RUNNABLE", "OK", "SERVICE_DIED"]


#: Success; also ``framework up`` without COMMAND after Ctrl-C or a signal.
OK = 0
#: An error, described in one line.
FAILED = FrameworkError.exit_code
#: The worker or beat of ``framework up`` ended unexpectedly.
SERVICE_DIED = ServiceDied.exit_code
#: COMMAND exists and cannot be run, as in a shell.
NOT_RUNNABLE = CommandNotRunnable.exit_code
#: COMMAND does not exist, as in a shell.
NOT_FOUND = CommandNotFound.exit_code
#: COMMAND was ended by a signal, whose number is added, as in a shell: 130 for Ctrl-C.
KILLED_BY = 128
