from framework.celery.celery import celery
from framework.tasks.main_task import main_task

if __name__ == "__main__":
    calls = [
        main_task.delay("Ann"),
        main_task.apply_async(("Ben",), countdown=1),
        celery.send_task("framework.tasks.main_task.main_task", ("Cleo",)),
    ]
    for call in calls:
        print(call.get(timeout=10))
