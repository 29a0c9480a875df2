"""An entry point of the project: how ``celeryconfig.py`` finds this project's own tasks, whatever their filename.

imports = find_tasks_in_project("shop")
"""

from framework.discovery import find_tasks_in_project

__all__ = ["find_tasks_in_project"]
