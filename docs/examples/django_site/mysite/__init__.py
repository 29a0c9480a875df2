from mysite.celery import app

__all__ = ["app"]
