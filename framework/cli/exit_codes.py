"""The exit statuses of ``framework``, beside those of the COMMAND that ``framework up`` runs."""

from framework.errors import CommandNotFound, CommandNotRunnable, FrameworkError, ServiceDied

__all__ = ["FAILED", "KILLED_BY", "NOT_FOUND", "NOT_RUNNABLE", "OK", "SERVICE_DIED"]


#: Everything went well; ``framework up`` without COMMAND was asked to stop.
OK = 0
#: An error, which its one line explains.
FAILED = FrameworkError.exit_code
#: The worker or beat of ``framework up`` ended by itself.
SERVICE_DIED = ServiceDied.exit_code
#: COMMAND is there and cannot be run, as in a shell.
NOT_RUNNABLE = CommandNotRunnable.exit_code
#: There is no such COMMAND, as in a shell.
NOT_FOUND = CommandNotFound.exit_code
#: COMMAND was ended by a signal, whose number is added, as in a shell: 130 for Ctrl-C.
KILLED_BY = 128
