from framework.celery.app import App

app = App("shop")
app.set_default()
app.config_from_object("shop.settings")
app.autodiscover_tasks(["shop"])
