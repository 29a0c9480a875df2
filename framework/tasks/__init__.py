"""The bundled tasks. Drop a file in here, under any name: its functions decorated with ``@celery.task`` are tasks."""
