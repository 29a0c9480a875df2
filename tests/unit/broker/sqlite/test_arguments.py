"""Queue arguments: valid values, and equivalence in a redeclaration."""

import pytest
from amqp.exceptions import PreconditionFailed

from framework.broker.sqlite.arguments import check_equivalent, validated

DURABLE = {"durable": True, "exclusive": False, "auto_delete": False}


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-message-ttl": -1},
        {"x-message-ttl": "soon"},
        {"x-expires": 0},
        {"x-max-length": True},
        {"x-overflow": "explode"},
        {"x-max-priority": 256},
        {"x-queue-type": "stream"},
        {"x-single-active-consumer": 1},
        {"x-dead-letter-routing-key": "without an exchange"},
        {"x-delivery-limit": 3},
        {"x-queue-type": "quorum", "x-max-priority": 3},
    ],
)
def test_an_impossible_argument_is_refused_by_name(arguments):
    with pytest.raises(PreconditionFailed, match="invalid arg 'x-"):
        validated("mail", DURABLE, arguments)


def test_unknown_arguments_are_stored_and_ignored():
    assert validated("mail", DURABLE, {"x-queue-mode": "lazy"}) == {"x-queue-mode": "lazy"}


@pytest.mark.parametrize("flag", ["durable", "exclusive", "auto_delete"])
def test_a_quorum_queue_is_durable_and_not_exclusive(flag):
    flags = {**DURABLE, flag: not DURABLE[flag]}

    with pytest.raises(PreconditionFailed, match=f"invalid property '{flag}'"):
        validated("mail", flags, {"x-queue-type": "quorum"})


def test_a_difference_is_named_with_both_values():
    with pytest.raises(PreconditionFailed, match=r"'x-max-length' for queue 'mail'.* received 2 but current is 1"):
        check_equivalent("mail", {"x-max-length": 2}, {"x-max-length": 1})


def test_a_queue_is_classic_by_default():
    check_equivalent("mail", {"x-queue-type": "classic"}, {})
