from framework.celery.celery import celery
from framework.tasks.hello import hello

print(hello.delay("Ann").get(timeout=10))
print(celery.send_task("framework.tasks.hello.hello", ("Ben",)).get(timeout=10))
