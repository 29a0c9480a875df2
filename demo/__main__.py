"""``python -m demo``: the web server and the external services, on this machine alone."""

import os
import socket
from contextlib import suppress

import click
from werkzeug.serving import make_server

from demo import create_app
from demo.external import external_services
from framework.errors import FrameworkError, PortTaken

HOST = "127.0.0.1"


def main() -> None:
    """Serve until Ctrl-C."""
    port = int(os.environ.get("DEMO_PORT", "8000"))
    with _listening_socket(port) as listener, external_services(), suppress(KeyboardInterrupt):
        port = listener.getsockname()[1]
        server = make_server(HOST, port, create_app(), threaded=True, fd=listener.fileno())
        click.secho(f"demo      http://{HOST}:{port}", bold="NO_COLOR" not in os.environ)
        server.serve_forever()


def _listening_socket(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as exc:
        raise PortTaken.at(HOST, port, exc) from exc


if __name__ == "__main__":
    try:
        main()
    except FrameworkError as exc:
        raise SystemExit(f"Error: {exc}") from None
