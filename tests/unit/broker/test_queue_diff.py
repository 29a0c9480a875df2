"""What the broker's refusal of a declaration says: which argument of which queue differs, and how."""

import pytest
from amqp.exceptions import PreconditionFailed

from framework.broker.queue_diff import Difference, Refusal
from framework.celery.app import App

OURS = {"x-queue-type": "quorum"}


@pytest.mark.parametrize(
    ("existing", "declared", "difference"),
    [
        (OURS | {"x-single-active-consumer": True}, OURS, Difference("x-single-active-consumer", None, True)),
        (OURS, OURS | {"x-max-length": 5}, Difference("x-max-length", 5, None)),
        ({}, OURS, Difference("x-queue-type", "quorum", "classic")),
    ],
)
def test_the_refusal_names_the_argument_and_both_values(broker_url, existing, declared, difference):
    with App("shop", set_as_current=False, broker=broker_url).connection_for_write() as connection:
        channel = connection.channel()
        channel.queue_declare("mail", durable=True, auto_delete=False, arguments=existing)

        with pytest.raises(PreconditionFailed) as refused:
            channel.queue_declare("mail", durable=True, auto_delete=False, arguments=declared)

    refusal = Refusal.from_error(refused.value)
    assert (refusal.kind, refusal.name) == ("queue", "mail")
    assert refusal.difference == difference


def test_another_error_states_no_refusal():
    assert Refusal.from_error(PreconditionFailed("unknown delivery tag 1")) is None
    assert Refusal.from_error(ValueError("inequivalent arg 'durable' for queue 'mail'")) is None
