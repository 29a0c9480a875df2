"""Rate limits per key, shared by all processes and servers.

On a task::

    @celery.task(limit=Limit("1/10s", key="visitor", address=True))
    def contact(visitor, text): ...

On its own, in a view::

    limit = Limit("5/minute", name="contact", address=True)
    limit.take(visitor)  # raises OverLimit, whose retry_after is the seconds to wait

The broker keeps the tokens: see `framework.limits.tokens`. A limit is exact: no window of its length has more calls.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from celery.app import app_or_default

from framework.broker.request import within_call
from framework.errors import BadLimit, OverLimit
from framework.limits.key import normalize, value_of
from framework.limits.owner import warn_if_ignored
from framework.limits.rate import LONGEST_WINDOW_SECONDS, Rate
from framework.limits.window import SlidingWindow

__all__ = ["Limit"]


Over = Literal["reject", "delay", "drop"]
OnUnavailable = Literal["refuse", "allow"]


class Limit:
    """A rate limit for each key.

    A task keeps it where its application is a `framework.celery.app.App`; plain Celery's ignores it, with a warning.

    Args:
        rate: ``N/[M]unit``: ``1/10s``, ``5/minute``, ``100/2h``.
        key: in a task's limit, the name of one of its arguments, or a function of the mapping of all of them, defaults
            included, that returns the key. None: one limit for the whole task.
        address: whether the key is the IP address of a visitor: an IPv6 address then counts as its /64 network, which
            is what one visitor has, and an IPv4 address inside of IPv6 as that IPv4 address.
        name: limits of one name, rate and ``address`` are one limit, on any tasks and views; None is the task's own
            name.
        over: the effect on a task's call over the limit: ``reject`` raises ``OverLimit``, ``delay`` runs it as soon as
            the window allows, ``drop`` queues nothing and returns a revoked result.
        max_wait: seconds that a delayed call may have to wait; one that would wait longer is rejected.
        on_unavailable: the effect where the broker, or the cluster node that keeps the tokens, does not answer within
            ``task_publish_timeout``: ``refuse`` raises ``LimitUnavailable``, ``allow`` lets the call pass uncounted,
            with a warning in the log.
        app: the application whose broker keeps the tokens; the current one where it is None.

    Raises:
        BadLimit: the rate or another argument is invalid.
    """

    def __init__(
        self,
        rate: str,
        *,
        key: str | Callable[[Mapping[str, Any]], Any] | None = None,
        address: bool = False,
        name: str | None = None,
        over: Over = "reject",
        max_wait: float = 3600.0,
        on_unavailable: OnUnavailable = "refuse",
        app: Any = None,
    ) -> None:
        self.text = rate
        self.rate = Rate.of(rate)
        if over not in ("reject", "delay", "drop"):
            raise BadLimit.of(rate, f"over is {over!r}, and must be reject, delay or drop")
        if on_unavailable not in ("refuse", "allow"):
            raise BadLimit.of(rate, f"on_unavailable is {on_unavailable!r}, and must be refuse or allow")
        if not (key is None or callable(key) or (isinstance(key, str) and key.isidentifier())):
            raise BadLimit.of(rate, f"key is {key!r}, and must be an argument's name or a function")
        if not 0 <= max_wait <= LONGEST_WINDOW_SECONDS:
            raise BadLimit.of(rate, "max_wait must be 0 s to 14 days")
        self.key = key
        self.address = address
        self.name = name
        self.over: Over = over
        self.max_wait = float(max_wait)
        self.on_unavailable: OnUnavailable = on_unavailable
        self._app = app

    def __repr__(self) -> str:
        """Return the rate and the name as they were written."""
        return f"Limit({self.text!r}, name={self.name!r})"

    def __set_name__(self, owner: type, name: str) -> None:
        """Warn where the limit is an option of a task that ignores it."""
        warn_if_ignored(owner, name)

    def take(self, key: Any) -> None:
        """Take a token for ``key``.

        Raises:
            OverLimit: none is free; its ``retry_after`` is the seconds until one is.
            BadLimit: the limit has no name, or delays calls, which only a task's limit can do.
            BadKey: the key is None or empty, of an unsupported type, or no address where the limit counts addresses.
            LimitUnavailable: the broker does not answer, and the limit has ``on_unavailable="refuse"``.
        """
        window = self._window(key)
        with within_call(self._used_app):
            if window.acquire() is None:
                raise OverLimit.of(self.name, self.text, window.wait())

    def allows(self, key: Any) -> bool:
        """Take a token for ``key`` if one is free; return whether. Raise as `take` does, except for ``OverLimit``."""
        return self._window(key).acquire() is not None

    def retry_after(self, key: Any) -> float:
        """Return the seconds until a token for ``key`` is free; 0.0 where one is. Take none."""
        window = self._window(key)
        with within_call(self._used_app):
            return window.wait()

    @property
    def _used_app(self) -> Any:
        return app_or_default(self._app)

    def _window(self, key: Any) -> SlidingWindow:
        if self.name is None:
            raise BadLimit.of(self.text, "on its own it needs a name: Limit(..., name='contact')")
        if self.over == "delay":
            raise BadLimit.of(self.text, "over='delay' is for tasks: in a view there is nothing to delay")
        counted = normalize(key, address=self.address)
        return _sliding_window(self, self._used_app, self.name, counted)


def window_of(task: Any, limit: Limit, place: int, bound: Mapping[str, Any]) -> SlidingWindow:
    """Return the window of a call of ``task`` with these arguments, for the limit at that ``place`` among the task's.

    Raises:
        BadKey: the call has no key for it.
    """
    which = limit.key if isinstance(limit.key, str) else str(place)
    scope = limit.name or f"{task.name}({which})"
    key = "" if limit.key is None else normalize(value_of(limit.key, task.name, bound), address=limit.address)
    return _sliding_window(limit, task.app, scope, key)


def _sliding_window(limit: Limit, app: Any, scope: str, key: str) -> SlidingWindow:
    longest = limit.max_wait if limit.over == "delay" else None
    optional = limit.on_unavailable == "allow"
    return SlidingWindow(app, limit.rate, limit.text, scope, key, max_wait=longest, optional=optional)
