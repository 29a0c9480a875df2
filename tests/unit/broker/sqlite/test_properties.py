"""Encoding of message properties in the file."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from framework.broker.sqlite.messages import body_from, body_of, decoded, encoded

DATE = datetime(2026, 11, 21, 12, 30, tzinfo=UTC).replace(tzinfo=None)  # as py-amqp reads it


@pytest.mark.parametrize(
    "headers",
    [
        {"text": "ñ", "number": 2**40, "float": 1.5, "yes": True, "nothing": None, "list": [1, "a"], "table": {"k": 1}},
        {"bytes": b"\x00\xff"},
        {"deaths": [{"count": 1, "time": DATE}]},
        {"price": Decimal("1.25")},
    ],
)
def test_headers_are_decoded_as_they_were_encoded(headers):
    properties = {"application_headers": headers, "priority": 3, "correlation_id": "c"}

    assert decoded(encoded(properties)) == properties


def test_unset_properties_are_not_stored():
    assert decoded(encoded({"priority": None, "type": "t"})) == {"type": "t"}


def test_text_is_stored_in_its_encoding_and_returned_as_text():
    properties = {"content_encoding": None}

    body = body_of("ñ", properties)

    assert body == "ñ".encode()
    assert body_from(body, properties) == "ñ"


@pytest.mark.parametrize("encoding", [None, "binary", "utf-8"])
def test_bytes_are_returned_as_bytes(encoding):
    assert body_from(b"\xff\x00", {"content_encoding": encoding}) == b"\xff\x00"
