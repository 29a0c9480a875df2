"""Record locks prove that a process is alive."""

import multiprocessing
import signal

from framework.broker.sqlite.liveness import locks_of

processes = multiprocessing.get_context("fork")
OWNER = 7


def test_a_process_is_alive_until_it_is_killed(tmp_path):
    path, holding = tmp_path / "broker.db", processes.Event()

    def hold():
        locks_of(path).hold(OWNER)
        holding.set()
        signal.pause()

    holder = processes.Process(target=hold, daemon=True)
    holder.start()
    assert holding.wait(60)
    assert locks_of(path).alive(OWNER)

    holder.kill()
    holder.join(60)

    assert not locks_of(path).alive(OWNER)


def test_one_lock_of_a_process_can_be_released_alone(tmp_path):
    locks = locks_of(tmp_path / "broker.db")
    locks.hold(1)
    locks.hold(2)

    locks.release(1)

    assert not locks.alive(1)
    assert locks.alive(2)


def test_a_child_does_not_inherit_its_parents_locks(tmp_path):
    path = tmp_path / "broker.db"
    locks_of(path).hold(OWNER)

    def look():
        child = locks_of(path)
        assert child.alive(OWNER)
        child.release(OWNER)
        assert child.alive(OWNER)

    child = processes.Process(target=look)
    child.start()
    child.join(60)

    assert child.exitcode == 0
    assert locks_of(path).alive(OWNER)


def test_a_new_file_in_the_place_of_a_removed_one_has_separate_locks(tmp_path):
    path = tmp_path / "broker.db"
    before = locks_of(path)
    (tmp_path / "broker.db-owners").unlink()

    assert locks_of(path) is not before
