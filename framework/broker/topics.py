"""Which topic bindings want a routing key."""

from collections.abc import Iterable
from functools import lru_cache

__all__ = ["topic_matches"]


@lru_cache(maxsize=4096)
def topic_matches(pattern: str, key: str) -> bool:
    """Whether a topic binding wants a routing key: ``*`` stands for one word, ``#`` for any number.

    >>> topic_matches("stock.*.nyse", "stock.ibm.nyse"), topic_matches("stock.#", "stock"), topic_matches("*", "a.b")
    (True, True, False)
    """
    return _match(tuple(_words(pattern)), tuple(_words(key)))


def _match(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    # Row by row, as edit distances are computed: no pattern of many "#" can make it slow.
    reached = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            first = next((index for index, hit in enumerate(reached) if hit), len(reached))
            reached = [index >= first for index in range(len(reached))]
        else:
            fits = [part in ("*", word) for word in words]
            reached = [False] + [before and fit for before, fit in zip(reached, fits, strict=False)]
    return reached[-1]


def _words(key: str) -> Iterable[str]:
    return key.split(".") if key else ()
