"""The state queue, and the records in it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import amqp
from celery import Celery
from kombu import Queue

from framework.broker.queues import RETAINING
from framework.config import setting

__all__ = ["Kind", "Record", "message", "outcome", "queue_name", "record_of", "run_headers", "state_queue"]


#: Headers: a record's kind and id; of a run, the entry and the slot, which the task can read too.
KIND, ID, ENTRY, SLOT = "x-schedule", "x-schedule-id", "x-schedule-entry", "x-schedule-slot"
SKIPPED = "x-schedule-skipped"


class Kind:
    """The kinds of records."""

    #: A scheduler has connected; the active consumer receives its own, too.
    HELLO = "hello"
    #: The active consumer publishes it; once it receives it, it has read every earlier record.
    BARRIER = "barrier"
    #: The whole state, which supersedes earlier records.
    SNAPSHOT = "snapshot"
    #: The copy of a task that was sent for a slot.
    RUN = "run"
    #: A slot's task was sent, without a copy.
    SENT = "sent"
    #: The task queue refused a slot's task, so that its copy is the record of nothing.
    REFUSED = "refused"
    #: A slot's call was answered without a task.
    SKIPPED = "skipped"
    #: A request for the status.
    QUERY = "query"
    #: A request to pause, resume or reset an entry.
    PAUSE, RESUME, RESET = "pause", "resume", "reset"

    CONTROL = (PAUSE, RESUME, RESET)
    #: What became of a slot, in a record of its own.
    OUTCOME = (SENT, REFUSED, SKIPPED)


class Record(NamedTuple):
    """A message of the state queue, decoded; ``kind`` is empty where it is no record."""

    kind: str
    id: str
    entry: str
    slot: datetime | None
    body: Mapping[str, Any]
    tag: int
    reply_to: str
    #: How many slots before this one were passed over.
    skipped: int = 0


def queue_name(app: Celery) -> str:
    """Return the name of an application's state queue."""
    return str(setting(app, "beat_queue"))


def state_queue(name: str) -> Queue:
    """Return the state queue: its active consumer is the leader, its unacknowledged messages are the state.

    It has no delivery limit: a change of leaders delivers the records again.
    """
    arguments = {**RETAINING, "x-single-active-consumer": True}
    return Queue(name, queue_arguments=arguments)


def message(kind: str, number: str, body: Mapping[str, Any], **properties: Any) -> amqp.Message:
    """Return a record to publish."""
    return amqp.Message(
        json.dumps(body, ensure_ascii=False),
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        application_headers={KIND: kind, ID: number},
        **properties,
    )


def run_headers(entry: str, slot: datetime, skipped: int) -> dict[str, Any]:
    """Return the headers that make a task's copy the record of its run, and of the slots passed over before it."""
    return {KIND: Kind.RUN, ENTRY: entry, SLOT: slot.isoformat(), SKIPPED: skipped}


def outcome(entry: str, slot: datetime, skipped: int) -> dict[str, Any]:
    """Return the body of a record of what became of a slot, and of how many were passed over before it."""
    return {"entry": entry, "slot": slot.isoformat(), "skipped": skipped}


def record_of(delivered: amqp.Message) -> Record:
    """Decode a delivered message, which any program may have published."""
    headers: Mapping[str, Any] = delivered.properties.get("application_headers") or {}
    kind = str(headers.get(KIND) or "")
    tag = delivered.delivery_info["delivery_tag"]
    reply_to = str(delivered.properties.get("reply_to") or "")
    try:
        body = {} if kind == Kind.RUN else json.loads(delivered.body)
        fields: Mapping[str, Any] = body
        if kind == Kind.RUN:
            fields = {"entry": headers.get(ENTRY), "slot": headers.get(SLOT), "skipped": headers.get(SKIPPED)}
        slot = datetime.fromisoformat(str(fields["slot"])) if kind in (Kind.RUN, *Kind.OUTCOME) else None
        entry = str(fields.get("entry") or "")
        skipped = int(fields.get("skipped") or 0)
        known = isinstance(body, Mapping) and (slot is None or slot.tzinfo is not None)
    except (AttributeError, KeyError, TypeError, ValueError):
        known = False
    if not known:
        return Record("", "", "", None, {}, tag, "")
    return Record(kind, str(headers.get(ID) or ""), entry, slot, body, tag, reply_to, skipped)
