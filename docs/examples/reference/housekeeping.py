beat_schedule = {
    "mark expiring cards": {
        "task": "framework.tasks.expiring_cards.mark_expiring_cards",
        "schedule": "0 0 * * *",
    },
    "remind dormant accounts": {
        "task": "framework.tasks.dormant_accounts.remind_dormant_accounts",
        "schedule": "2nd Tuesday 01:00",
    },
}
