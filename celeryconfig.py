"""This project's settings: Celery's names, lower case. What is not here keeps the framework's safe defaults.

Celery's own environment variables win over this file: CELERY_BROKER_URL, CELERY_RESULT_BACKEND.
"""

#: RabbitMQ on this machine. Without a server: CELERY_BROKER_URL=sqlite:///broker.db
broker_url = "amqp://guest:guest@localhost:5672//"

#: The zone that schedules are written in.
timezone = "Europe/Madrid"
