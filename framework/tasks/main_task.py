"""The first task: it prints a greeting."""

from framework.celery.celery import celery


@celery.task
def main_task(name: str = "world") -> str:
    """Print a greeting, which the worker logs, and return it."""
    message = f"Hello, {name}! This is the main task."
    print(message)
    return message
