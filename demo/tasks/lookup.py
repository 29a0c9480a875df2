"""The task that requests the parcel service."""

from typing import Any

from demo import parcels
from demo.texts import TEXTS
from framework.celery.celery import celery
from framework.limits import Limit


@celery.task(
    track=True,
    limit=Limit("4/s", over="delay"),
    autoretry_for=(parcels.ServiceUnavailable,),
    retry_backoff=1,
    retry_jitter=False,
    max_retries=3,
)
def look_up(number: str, lang: str = "en") -> dict[str, Any] | None:
    """Return where a parcel is; None if it is unknown. Retried after 1, 2 and 4 seconds.

    Raises:
        ServiceUnavailable: the last retry failed; the message is in the visitor's language.
        InvalidResponse: the response of the service is not valid.
    """
    try:
        return parcels.fetch(number)
    except parcels.ServiceUnavailable as exc:
        raise parcels.ServiceUnavailable(TEXTS[lang]["service_unavailable"]) from exc
    except parcels.InvalidResponse as exc:
        raise parcels.InvalidResponse(TEXTS[lang]["invalid_response"]) from exc
