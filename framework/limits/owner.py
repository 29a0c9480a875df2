"""Tasks that ignore their limits: those of a plain Celery application."""

import warnings

from framework.errors import FrameworkWarning

__all__ = ["warn_if_ignored"]


def warn_if_ignored(owner: type, option: str) -> None:
    """Warn where ``owner`` is a task whose base class does not know the option ``limit`` or ``unique``.

    Celery makes each task a class of its own, whose attributes are its options, and accepts any.
    """
    is_task = "app" in vars(owner) and "run" in vars(owner)
    if is_task and not any(option in vars(base) for base in owner.__mro__[1:]):
        warnings.warn(
            f"The task {vars(owner).get('name')} has {option}=..., which its application, a plain Celery, ignores: all "
            "of its calls are queued. Make the application a framework.celery.app.App.",
            FrameworkWarning,
            stacklevel=2,
        )
