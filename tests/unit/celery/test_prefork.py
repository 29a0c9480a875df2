"""Cancelled time limits leave the event loop's timer, and no other entry does."""

from kombu.asynchronous.timer import Timer

from framework.celery.prefork import drop_cancelled


def test_entries_that_are_not_cancelled_keep_their_time_and_order():
    """B1"""
    timer, ran = Timer(), []
    for due in (3.0, 1.0, 2.0):
        timer.call_at(due, ran.append, (due,))
    for due in range(10, 20):
        timer.cancel(timer.call_at(float(due), ran.append, (due,)))

    drop_cancelled(timer)

    assert [entry.eta for entry in timer.queue] == [1.0, 2.0, 3.0]
    for _, entry in zip(range(3), (entry for _, entry in timer if entry), strict=False):
        entry()
    assert ran == [1.0, 2.0, 3.0]


def test_an_iteration_over_the_timer_continues_after_entries_were_dropped():
    """B1"""
    timer, ran = Timer(), []
    timer.call_at(1.0, drop_cancelled, (timer,))
    timer.cancel(timer.call_at(2.0, ran.append, ("cancelled",)))
    timer.call_at(3.0, ran.append, ("live",))

    for _, entry in timer:
        if entry is None:
            break
        entry()

    assert ran == ["live"]
