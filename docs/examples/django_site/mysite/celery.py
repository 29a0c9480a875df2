import os

from framework.celery.app import App

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

app = App("mysite")
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
