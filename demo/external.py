"""``python -m demo.external``: the external services of the demo, a mail server and a parcel service."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from urllib.parse import urlsplit

import click

from demo.mail_server import MailServer
from demo.parcel_service import ParcelService
from demo.settings import api_url
from framework.contrib.mail import MailSettings
from framework.errors import FrameworkError, PortTaken


@contextmanager
def external_services() -> Iterator[None]:
    """Run both services inside the ``with``; they listen on ``DEMO_HOST``."""
    host = os.environ.get("DEMO_HOST", "127.0.0.1")
    with MailServer(MailSettings.from_environment().port, host=host) as mail, _parcel_service(host) as parcels:
        click.echo(f"mail      {host}, port {mail.port}")
        click.echo(f"parcels   http://{host}:{parcels.server_port}/parcels/")
        yield


@contextmanager
def _parcel_service(host: str) -> Iterator[ParcelService]:
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
    """Serve until Ctrl-C."""
    with suppress(KeyboardInterrupt), external_services():
        Event().wait()


if __name__ == "__main__":
    try:
        main()
    except FrameworkError as exc:
        raise SystemExit(f"Error: {exc}") from None
