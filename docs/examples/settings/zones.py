from framework.schedule import cron

timezone = "Europe/Madrid"
beat_schedule = {
    "report": {"task": "shop.tasks.orders.report", "schedule": "0 1 * * tue#2"},
    "tokyo": {"task": "shop.tasks.orders.report", "schedule": "0 9 * * mon-fri", "timezone": "Asia/Tokyo"},
    "lima": {"task": "shop.tasks.orders.report", "schedule": cron("0 9 * * mon-fri", timezone="America/Lima")},
}
