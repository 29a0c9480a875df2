beat_schedule = {
    "clean up": {"task": "shop.tasks.orders.clean_up", "schedule": 600},
    "report": {
        "task": "shop.tasks.orders.report",
        "schedule": "2nd Tuesday 01:00",
        "timezone": "Europe/Madrid",
        "args": ("monthly",),
        "options": {"queue": "reports", "expires": 3600},
    },
}
