"""The main job: call tasks in three ways, wait for them, and show what came back.

    framework up -- python start.py

or, with a RabbitMQ and a `framework worker` in another terminal, `python start.py`.
"""

import csv
import os
from contextlib import ExitStack

import click

from framework.celery.celery import celery
from framework.cli.waiting import wait_for, wait_until
from framework.contrib import env
from framework.contrib.csv_export import export_file
from framework.contrib.mail import MailSettings
from framework.errors import PortTaken
from framework.tasks.main_task import main_task
from framework.tasks.yara_task import yara_task


@click.command()
def main():
    """Say hello, send a mail, scan the sample files."""
    with ExitStack() as stack:
        mailbox = open_mailbox(stack)
        before = len(exported())

        # 1. delay: the task, called with what it takes
        calls = {"The greeting": main_task.delay("OMSTD")}
        # 2. send_task: by its name alone, without importing its code
        visitor = ("Ann <ann@example.org>", "Opening hours", "Are you open on Sunday?")
        calls["The mail"] = celery.send_task("framework.tasks.send_mails.send_mail", visitor)
        # 3. apply_async: with options; here, nobody wants a scan that waited for an hour
        for file in sorted(env.folder("YARA_FILES", "samples/files").glob("*")):
            calls[f"The scan of {file.name}"] = yara_task.apply_async((file.name,), expires=3600)

        greeting, message_id, *scans = wait_for(calls).values()
        found = sum(len(matches) for matches in scans)
        wait_until(lambda: len(exported()) >= before + found, "The export of what was found")

        click.secho(f"\n{greeting}", bold=True)
        show_mail(message_id, mailbox)
        show_rows(exported()[before:], len(scans))


def open_mailbox(stack):
    """A real mail server, where mail goes to this machine and none listens; the tasks see no difference."""
    from framework.testing.mailbox import Mailbox

    settings = MailSettings.from_environment()
    if settings.server not in {"localhost", "127.0.0.1"}:
        return None
    try:
        return stack.enter_context(Mailbox(settings.port))
    except PortTaken:
        return None


def exported():
    """The rows that the tasks have exported so far."""
    file = export_file("results.csv")
    if not file.exists():
        return []
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def show_mail(message_id, mailbox):
    """The mail as it was received, or its id where another server took it."""
    mail = next((mail for mail in mailbox.messages if mail["Message-ID"] == message_id), None) if mailbox else None
    if mail is None:
        click.echo(f"\nA mail went to the mail server that is configured: {message_id}")
        return
    click.secho(f"\nA mail came in for {mail['To']}; an answer goes to {mail['Reply-To']}:", bold=True)
    for line in mail.get_content().splitlines():
        click.echo(f"  | {line}")


def show_rows(rows, files):
    """What the scans found, as it stands in the spreadsheet."""
    where = os.path.relpath(export_file("results.csv"))
    click.secho(f"\n{files} files were scanned; {where} has {len(rows)} new rows:", bold=True)
    for row in rows:
        click.echo(f"  {row['file']:<12} {row['description']}")


if __name__ == "__main__":
    main()
