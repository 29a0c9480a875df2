"""Mistakes: each must be reported at its line, by the rules that are named there (mypy's / pyright's), and no other."""

from datetime import datetime

from framework import find_tasks_in_project
from framework.celery.celery import celery
from project.tasks import add, greet, ship

add.delay("1", 2)  # expect: arg-type / reportArgumentType
add.delay(1)  # expect: call-arg / reportCallIssue
add.delay(1, 2, 3)  # expect: call-arg / reportCallIssue
add.delay(1, z=2)  # expect: call-arg / reportCallIssue
greet.delay("Ann", True)  # expect: call-arg / reportCallIssue
greet.delay(name=7)  # expect: arg-type / reportArgumentType
ship.delay(1, address=["Main Street"])  # expect: arg-type / reportArgumentType
add("1", 2)  # expect: arg-type / reportArgumentType

text: str = add.delay(1, 2).get()  # expect: assignment / reportAssignmentType
number: int = greet.delay("Ann").get(timeout=10)  # expect: assignment / reportAssignmentType
made: int = add.delay(1, 2)  # expect: assignment / reportAssignmentType
lines: list[str] = ship.delay(1).get()  # expect: assignment / reportAssignmentType

add.apply_async(1)  # expect: arg-type / reportArgumentType
add.apply_async((1, 2), countdown="5")  # expect: arg-type / reportArgumentType
add.apply_async((1, 2), eta=5)  # expect: arg-type / reportArgumentType
add.apply_async((1, "2"))  # not reported: a tuple of arguments has no types

celery.send_task(add)  # expect: arg-type / reportArgumentType
celery.send_task("shop.ship", eta=datetime.now)  # expect: arg-type / reportArgumentType
find_tasks_in_project(["project"])  # expect: arg-type / reportArgumentType


@celery.task
def bad() -> int:
    return "text"  # expect: return-value / reportReturnType


celery.taks  # noqa: B018  # expect: attr-defined / reportAttributeAccessIssue, reportUnknownMemberType
