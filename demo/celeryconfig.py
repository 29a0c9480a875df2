"""The demo's settings for Celery: its tasks, and when they run."""

import os
from pathlib import Path

from demo.settings import data
from framework.discovery import find_tasks_in_project

imports = find_tasks_in_project(Path(__file__).parent)
timezone = "Europe/Madrid"

# The page shows the state of a mail.
task_annotations = {"framework.tasks.send_mails.send_mail": {"track": True}}

# The tables of the two bundled tasks.
os.environ.setdefault("DATABASE_URL", f"sqlite:///{data() / 'shop.db'}")

beat_schedule = {
    "count mails": {"task": "demo.tasks.shop.count_mails", "schedule": 10, "missed": 10},
    "mark expiring cards": {
        "task": "framework.tasks.expiring_cards.mark_expiring_cards",
        "schedule": "0 0 * * *",
    },
    "remind dormant accounts": {
        "task": "framework.tasks.dormant_accounts.remind_dormant_accounts",
        "schedule": "2nd Tuesday 01:00",
    },
}
