from framework.errors import OverLimit
from framework.limits import Limit

contact_limit = Limit("5/minute", name="contact", address=True)


def view(visitor: str) -> tuple[str, int]:
    try:
        contact_limit.take(visitor)
    except OverLimit as over:
        return f"Try again in {over.retry_after:.0f} s", 429
    return "Thank you", 200
