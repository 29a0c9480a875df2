"""Wake-up pipes wake a sleeping connection; a missing pipe is no error."""

import threading
import time

import pytest

from framework.broker.sqlite.wakeup import WakeupPipe, remove, wake

OWNER = 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "broker.db"


@pytest.fixture
def pipe(path):
    pipe = WakeupPipe(path, OWNER)
    yield pipe
    pipe.close()


def test_a_sleeper_is_woken_at_once(path, pipe):
    waking = threading.Timer(0.05, wake, (path, OWNER))
    before = time.monotonic()
    waking.start()

    pipe.wait(100)

    assert time.monotonic() - before < 60
    assert pipe.clear()
    waking.join()


def test_a_wake_up_before_the_sleep_is_not_missed(path, pipe):
    wake(path, OWNER)
    before = time.monotonic()

    pipe.wait(100)

    assert time.monotonic() - before < 60


def test_a_cleared_pipe_is_empty(path, pipe):
    wake(path, OWNER)
    pipe.clear()

    assert not pipe.clear()


def test_more_wake_ups_than_a_pipe_can_hold_do_not_block(path, pipe):
    for _ in range(70_000):
        pipe.wake()
    wake(path, OWNER)

    while pipe.clear():
        pass


def test_waking_a_removed_connection_does_nothing(path):
    wake(path, OWNER)
    remove(path, OWNER)


def test_the_pipe_of_a_dead_process_is_replaced(path):
    left_behind = WakeupPipe(path, OWNER)

    pipe = WakeupPipe(path, OWNER)
    wake(path, OWNER)

    assert pipe.clear()
    assert not left_behind.clear()
    left_behind.close()
    pipe.close()
