"""Runs work in a child process so that all processes end even when one of the two is killed.

The watchdog, which the user started, waits; its child, the launcher, works. When the watchdog is killed, the launcher
reads the end of a pipe and shuts down; when the launcher is killed, the watchdog ends all remaining descendants.
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

__all__ = ["FORWARDED", "run_with_watchdog"]


#: Signals that the watchdog forwards; SIGCONT is a shell's ``fg`` after Ctrl-Z.
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
#: Seconds that remaining descendants have to end.
GRACE_SECONDS = 2.0


def run_with_watchdog(work: Callable[[int], int]) -> int:
    """Run ``work`` in a child process, end its remaining descendants, and return its exit status.

    Args:
        work: takes a file descriptor that is readable (and empty) once the watchdog is gone. The signals `FORWARDED`
            are blocked when it starts: it unblocks them when it has handlers, so that no signal is lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    adopt_orphans()
    watchdog_gone, held_open = os.pipe()
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    launcher = os.fork()
    if not launcher:
        os.close(held_open)
        _work(work, watchdog_gone)
    os.close(watchdog_gone)
    _forward_signals(launcher)
    signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
    status = os.waitstatus_to_exitcode(os.waitpid(launcher, 0)[1])
    _ignore_signals()
    end_descendants(GRACE_SECONDS)
    if status == -signal.SIGKILL:
        click.echo("Error: The launcher was killed; what it ran has been stopped.", err=True)
    return status if status >= 0 else KILLED_BY - status


def _work(work: Callable[[int], int], watchdog_gone: int) -> NoReturn:
    status = FAILED
    try:
        os.setpgid(0, 0)  # signals come once, through the watchdog
        adopt_orphans()
        status = work(watchdog_gone)
    except click.ClickException as exc:
        exc.show()
        status = exc.exit_code
    except KeyboardInterrupt:
        status = KILLED_BY + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        _ignore_signals()
        end_descendants(GRACE_SECONDS)
        with suppress(OSError):  # the terminal may be closed by now
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _forward_signals(launcher: int) -> None:
    def forward(number: int, _: FrameType | None) -> None:
        os.kill(launcher, number)

    for number in FORWARDED:
        signal.signal(number, forward)


def _ignore_signals() -> None:
    for number in FORWARDED:
        signal.signal(number, signal.SIG_IGN)
