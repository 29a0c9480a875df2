"""Discovery: the task modules of a project, and the tasks in them, found without importing anything."""

from framework.discovery.modules import find_tasks_in_project, source_of

__all__ = ["find_tasks_in_project", "source_of"]
