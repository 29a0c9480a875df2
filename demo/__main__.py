"""``python -m demo``: a mail server and the web server, on this machine alone."""

from contextlib import suppress

import click
from werkzeug.serving import make_server

from demo import create_app
from framework.mail import MailSettings
from framework.testing.mailbox import Mailbox


def main() -> None:
    """Serve until Ctrl-C."""
    with Mailbox(MailSettings.from_environment().port) as mailbox, suppress(KeyboardInterrupt):
        server = make_server("127.0.0.1", 8000, create_app({"MAILBOX": mailbox}), threaded=True)
        click.echo("demo      http://127.0.0.1:8000")
        server.serve_forever()


if __name__ == "__main__":
    main()
