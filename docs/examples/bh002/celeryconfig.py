broker_url = "amqp://guest:guest@localhost:5672//"
timezone = "Europe/Madrid"

beat_schedule = {
    "greeting": {
        "task": "framework.tasks.main_task.main_task",
        "schedule": 2,
        "args": ("every two seconds",),
    },
    "midnight": {
        "task": "framework.tasks.expiring_cards.mark_expiring_cards",
        "schedule": "0 0 * * *",
    },
    "reminder": {
        "task": "framework.tasks.dormant_accounts.remind_dormant_accounts",
        "schedule": "2nd Tuesday 01:00",
        "kwargs": {"months": 6},
    },
}
