"""The application: Celery, with this project's tasks, settings and guarantees.

The instance is ``framework.celery.celery.celery``. It is not exported here: the name would hide the module.
"""
