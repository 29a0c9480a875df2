"""``python -m demo.outside``: what is not ours: a mail server, and a parcel service."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from urllib.parse import urlsplit

import click

from demo.postbox import Postbox
from demo.settings import api_url
from demo.third_party import ParcelService
from framework.contrib.mail import MailSettings
from framework.errors import FrameworkError, PortTaken


@contextmanager
def outside() -> Iterator[None]:
    """Both of them, for as long as the block runs; ``DEMO_HOST`` is where they listen."""
    host = os.environ.get("DEMO_HOST", "127.0.0.1")
    with Postbox(MailSettings.from_environment().port, host=host) as postbox, _parcels(host) as parcels:
        click.echo(f"mail      {host}, port {postbox.port}")
        click.echo(f"parcels   http://{host}:{parcels.server_port}/parcels/")
        yield


@contextmanager
def _parcels(host: str) -> Iterator[ParcelService]:
    port = urlsplit(api_url()).port or 80
    try:
        service = ParcelService((host, port), float(os.environ.get("DEMO_API_DELAY", "1.5")))
    except OSError as exc:
        raise PortTaken.at(host, port, exc) from exc
    Thread(target=service.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()


def main() -> None:
    """Be there until Ctrl-C."""
    with suppress(KeyboardInterrupt), outside():
        Event().wait()


if __name__ == "__main__":
    try:
        main()
    except FrameworkError as exc:
        raise SystemExit(f"Error: {exc}") from None
