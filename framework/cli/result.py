"""``framework result``: Celery's command, which refuses where no other process can read a result."""

from functools import wraps
from typing import Any

import click
from celery.backends.rpc import RPCBackend
from celery.bin.base import CeleryCommand
from celery.bin.result import result as celery_result

from framework.errors import ResultElsewhere

__all__ = ["result"]


def _refusing(callback: Any) -> Any:
    @click.pass_context
    @wraps(callback)
    def call(ctx: click.Context, /, *args: Any, **options: Any) -> Any:
        if isinstance(ctx.obj.app.backend, RPCBackend):
            raise ResultElsewhere.of(options["task_id"])
        return ctx.invoke(callback, *args, **options)

    return call


result = CeleryCommand(
    celery_result.name,
    params=celery_result.params,
    help=celery_result.help,
    callback=_refusing(celery_result.callback),
)
