"""Ten visitors send a contact form, with and without a task, while the mail server takes half a second for each."""

import asyncio
import time

from framework.contrib import mail
from framework.contrib.mail import MailSettings
from framework.tasks.send_mails import send_mail
from framework.testing.mailbox import Mailbox

VISITORS = 10
FORM = ("Ann <ann@example.org>", "Opening hours", "Are you open on Sunday?")


class BusyMailServer(Mailbox):
    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(0.5)
        return await super().handle_DATA(server, session, envelope)


def in_the_request():
    mail.send(*FORM)


def in_a_task():
    send_mail.delay(*FORM)


with BusyMailServer(MailSettings.from_environment().port) as server:
    for answer in (in_the_request, in_a_task):
        began = time.perf_counter()
        for _ in range(VISITORS):
            answer()
        waited = time.perf_counter() - began
        print(f"{answer.__name__:<15} each waits {waited / VISITORS:.3f} s, the last in line {waited:.2f} s")
    mails = server.wait_for(2 * VISITORS, timeout=60)
    print(f"The mail server has {len(mails)} mails.")
