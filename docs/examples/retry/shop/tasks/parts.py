from framework.celery.celery import celery
from shop import supplier


@celery.task(autoretry_for=(OSError,), retry_backoff=1, retry_backoff_max=60, retry_jitter=False, max_retries=5)
def price(part: str) -> float:
    """What a part costs, asked again after 1, 2, 4, 8 and 16 seconds."""
    return supplier.price(part)


@celery.task(bind=True, max_retries=5, throws=(LookupError,))
def reserve(self, part: str) -> str:
    """Reserve a part; a supplier that is busy says itself when to come again."""
    try:
        return supplier.reserve(part)
    except supplier.Busy as busy:
        raise self.retry(exc=busy, countdown=busy.seconds) from busy
