from kombu import Queue

task_queues = [Queue("celery", queue_arguments={"x-queue-type": "classic"})]
