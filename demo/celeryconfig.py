"""The demo's settings for Celery: its own tasks beside the framework's."""

from pathlib import Path

from framework.discovery import find_tasks_in_project

imports = find_tasks_in_project(Path(__file__).parent)
timezone = "Europe/Madrid"
