"""A reusable Celery task framework in the OMSTD layout."""
