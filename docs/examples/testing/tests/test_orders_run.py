import time

import pytest
from shop.tasks.orders import confirm, ship

from framework.celery.celery import celery
from framework.errors import OverLimit
from framework.failures import Failures

pytestmark = pytest.mark.usefixtures("task_worker")


def test_a_customer_gets_a_mail(mailbox):
    sent = confirm.delay("Ann", ["9.50", "0.50"])

    assert sent.get(timeout=20) == "10.00"
    [mail] = mailbox.wait_for(1)
    assert mail["Subject"] == "Order of Ann"


def test_a_second_order_within_ten_seconds_is_refused():
    confirm.delay("Ben", ["1.00"]).get(timeout=20)

    with pytest.raises(OverLimit) as refused:
        confirm.delay("Ben", ["1.00"])

    assert 0 < refused.value.retry_after <= 10


def test_what_cannot_be_shipped_is_kept():
    sent = ship.delay(-1)

    with pytest.raises(ValueError, match="no order -1"):
        sent.get(timeout=20)
    assert kept(sent.id).error == "ValueError: There is no order -1."


def test_an_order_is_shipped_though_the_worker_is_killed(task_worker):
    task_worker.kill()
    sent = ship.delay(7)
    task_worker.start()

    assert sent.get(timeout=30) is None


def kept(task_id):
    """The failed task, which is kept a moment after its caller heard of it."""
    for _ in range(100):
        if found := [task for task in Failures(celery).page() if task.id == task_id]:
            return found[0]
        time.sleep(0.1)
    pytest.fail(f"{task_id} is not among the failed tasks")
