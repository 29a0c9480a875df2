from framework.celery.celery import celery


@celery.task
def clean_up() -> None:
    """Throw old orders away."""


@celery.task
def report(period: str = "daily") -> str:
    return f"the {period} report"
