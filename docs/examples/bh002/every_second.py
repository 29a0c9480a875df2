import celeryconfig

broker_url = celeryconfig.broker_url
beat_schedule = {"greeting": {"task": "framework.tasks.main_task.main_task", "schedule": 1}}
