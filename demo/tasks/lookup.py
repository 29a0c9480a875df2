"""A third party's answer, asked for behind the page."""

from typing import Any

from demo import parcels
from demo.texts import TEXTS
from framework.celery.celery import celery
from framework.limits import Limit


@celery.task(
    track=True,
    limit=Limit("4/s", over="delay"),
    autoretry_for=(parcels.ServiceAway,),
    retry_backoff=1,
    retry_jitter=False,
    max_retries=3,
)
def look_up(number: str, lang: str = "en") -> dict[str, Any] | None:
    """Where a parcel is; None where nobody knows. Tries again after 1, 2 and 4 seconds.

    Raises:
        ServiceAway: the last try failed too, said in the visitor's language.
        StrangeAnswer: the service cannot be understood.
    """
    try:
        return parcels.ask(number)
    except parcels.ServiceAway as exc:
        raise parcels.ServiceAway(TEXTS[lang]["service_away"]) from exc
    except parcels.StrangeAnswer as exc:
        raise parcels.StrangeAnswer(TEXTS[lang]["strange_answer"]) from exc
