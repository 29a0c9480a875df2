"""What lies in the state queue: the queue itself, and the kinds of messages in it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import amqp
from celery import Celery
from kombu import Queue

from framework.broker.queues import RETAINING
from framework.config import setting

__all__ = ["Kind", "Record", "message", "queue_name", "record_of", "run_headers", "state_queue"]


#: Headers: what a record is, its id, and of a run the entry and the slot; a task that is run can read them too.
KIND, ID, ENTRY, SLOT = "x-schedule", "x-schedule-id", "x-schedule-entry", "x-schedule-slot"


class Kind:
    """The kinds of records."""

    #: A scheduler has come; whoever is first in line hears its own.
    HELLO = "hello"
    #: A scheduler that became the first in line; it has read all that was before once this comes back.
    BARRIER = "barrier"
    #: All that is known, which makes what was before superfluous.
    SNAPSHOT = "snapshot"
    #: The copy of a task that was sent for a slot.
    RUN = "run"
    #: Somebody wants to know.
    QUERY = "query"
    #: An entry is to pause, or to go on.
    PAUSE, RESUME = "pause", "resume"


class Record(NamedTuple):
    """A message of the state queue, understood; ``kind`` is empty where it is none of ours."""

    kind: str
    id: str
    entry: str
    slot: datetime | None
    body: Mapping[str, Any]
    tag: int
    reply_to: str


def queue_name(app: Celery) -> str:
    """What the state queue is called in an application."""
    return str(setting(app, "beat_queue"))


def state_queue(name: str) -> Queue:
    """The state queue: its first consumer is the leader, and what that does not acknowledge is the state.

    However often leaders change, no record is given up for having been delivered too often.
    """
    arguments = {**RETAINING, "x-single-active-consumer": True}
    return Queue(name, queue_arguments=arguments)


def message(kind: str, number: str, body: Mapping[str, Any], **properties: Any) -> amqp.Message:
    """A record to publish."""
    return amqp.Message(
        json.dumps(body, ensure_ascii=False),
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        application_headers={KIND: kind, ID: number},
        **properties,
    )


def run_headers(entry: str, slot: datetime) -> dict[str, str]:
    """The headers that make a task's copy the record of its run."""
    return {KIND: Kind.RUN, ENTRY: entry, SLOT: slot.isoformat()}


def record_of(delivered: amqp.Message) -> Record:
    """What a delivered message says; anybody may have put it there."""
    headers: Mapping[str, Any] = delivered.properties.get("application_headers") or {}
    kind = str(headers.get(KIND) or "")
    tag = delivered.delivery_info["delivery_tag"]
    reply_to = str(delivered.properties.get("reply_to") or "")
    try:
        slot = datetime.fromisoformat(headers[SLOT]) if kind == Kind.RUN else None
        body = {} if kind == Kind.RUN else json.loads(delivered.body)
        known = isinstance(body, Mapping) and (slot is None or slot.tzinfo is not None)
    except (KeyError, TypeError, ValueError):
        known, slot, body = False, None, {}
    if not known:
        return Record("", "", "", None, {}, tag, "")
    return Record(kind, str(headers.get(ID) or ""), str(headers.get(ENTRY) or ""), slot, body, tag, reply_to)
