"""Two processes that look after each other, so that what they run ends even when one of them is killed.

The one that the user started waits; the other, its child, does the work. When the first is killed, the second reads the
end of a pipe and comes down in good order; when the second is killed, the first ends everything that it left.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import click

from framework.cli.exit_codes import FAILED, KILLED_BY
from framework.cli.up.descendants import adopt_orphans, end_descendants

__all__ = ["FORWARDED", "guarded"]


#: What the waiting process passes on; the last is a shell's ``fg`` after Ctrl-Z.
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
#: Seconds that processes have whose parent was killed.
GRACE = 2.0


def guarded(work: Callable[[int], int]) -> int:
    """Run ``work`` in a process of its own, and end what it left behind; returns its exit status.

    Args:
        work: takes a file descriptor, which can be read (and holds nothing) once the waiting process is gone. The
            signals `FORWARDED` are blocked when it starts: it unblocks them when it listens, so that none gets lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    adopt_orphans()
    gone, held = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    worker = os.fork()
    if not worker:
        os.close(held)
        _work(work, gone)
    os.close(gone)
    _forward_signals(worker)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    _hear_nothing_more()
    end_descendants(GRACE)
    if status == -signal.SIGKILL:
        click.echo("Error: The launcher was killed; what it ran has been stopped.", err=True)
    return status if status >= 0 else KILLED_BY - status


def _work(work: Callable[[int], int], gone: int) -> NoReturn:
    status = FAILED
    try:
        os.setpgid(0, 0)  # signals reach it once: through the waiting process
        adopt_orphans()
        status = work(gone)
    except click.ClickException as exc:
        exc.show()
        status = exc.exit_code
    except KeyboardInterrupt:
        status = KILLED_BY + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        _hear_nothing_more()
        end_descendants(GRACE)
        with suppress(OSError):  # the terminal may be closed by now
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _forward_signals(worker: int) -> None:
    def forward(number: int, _: FrameType | None) -> None:
        os.kill(worker, number)

    for number in FORWARDED:
        signal.signal(number, forward)


def _hear_nothing_more() -> None:
    for number in FORWARDED:
        signal.signal(number, signal.SIG_IGN)
