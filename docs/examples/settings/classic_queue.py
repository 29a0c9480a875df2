from kombu import Queue

_unchanged = {"x-queue-type": "classic", "x-dead-letter-exchange": None, "x-overflow": None}
task_queues = [Queue("celery", queue_arguments=_unchanged)]
