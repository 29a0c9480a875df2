import sys

from framework.celery.celery import celery
from framework.progress import Watcher, last_state, watch

task_id = sys.argv[1]
state = last_state(task_id, app=celery)  # None where nothing is known

for state in watch(task_id, app=celery):  # ends with the task
    print(state.status, state.progress and state.progress.fraction)

watcher = Watcher(celery)  # one for a process, for any number of tasks
stop = watcher.subscribe(task_id, print)
