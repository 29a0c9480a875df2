"""Progress and state of tasks: reported by callers and workers, stored by the broker, watched from any process.

::

    for row in progress(rows, "reading"):  # in the task
        ...

    for state in watch(task_id):  # anywhere else
        print(state.status, state.progress)
"""

from framework.progress.reader import last_state, watch
from framework.progress.state import FINAL, Progress, State, Step
from framework.progress.steps import progress
from framework.progress.watcher import Watcher

__all__ = ["FINAL", "Progress", "State", "Step", "Watcher", "last_state", "progress", "watch"]
