"""Drop a file in here, whatever its name: its functions decorated with ``@celery.task`` are tasks."""
