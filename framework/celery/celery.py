"""The application that workers run and callers use: ``from framework.celery.celery import celery``."""

from framework.celery.app import App

__all__ = ["celery"]

celery = App("framework")
# Celery's current application is the last one made in the same thread, and a web server has many threads.
celery.set_default()
