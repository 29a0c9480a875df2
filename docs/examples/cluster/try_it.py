import os

from framework.celery.celery import celery
from framework.testing.rabbitmq_cluster import Cluster
from framework.testing.worker import Worker

GREETING = "framework.tasks.main_task.main_task"

with Cluster() as cluster:
    os.environ["CELERY_BROKER_URL"] = cluster.url
    with Worker(cluster.url):
        print(celery.send_task(GREETING, ("three nodes",)).get(timeout=30))

        cluster.leader("celery", cluster.url).kill()
        celery.send_task(GREETING, ("two nodes",), ignore_result=True)
        print("Called with a node gone.")
