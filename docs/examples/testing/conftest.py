import os

import pytest

from framework.testing.mailbox import Mailbox

pytest_plugins = ["framework.testing.pytest_plugin"]


@pytest.fixture(scope="session", autouse=True)
def mailbox():
    """A mail server that keeps what it is sent; the worker gets its port."""
    with Mailbox() as mailbox:
        os.environ["MAIL_PORT"] = str(mailbox.port)
        yield mailbox
