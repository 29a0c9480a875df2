"""The application that workers run and callers use: ``from framework.celery.celery import celery``."""

from framework.celery.app import App

__all__ = ["celery"]

celery = App("framework")
