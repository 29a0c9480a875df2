"""A reusable Celery task framework in the OMSTD layout.

The application is ``framework.celery.celery.celery``, its tasks are in ``framework.tasks``; neither is imported here,
so that ``import framework`` costs little and reads no settings.
"""

from importlib.metadata import PackageNotFoundError, version

from framework import errors
from framework.discovery import find_tasks_in_project

__all__ = ["__version__", "errors", "find_tasks_in_project"]

try:
    #: The version that is installed; empty where the source tree is used without being installed.
    __version__ = version("omstd-framework")
except PackageNotFoundError:
    __version__ = ""
