from framework.celery.celery import celery
from framework.schedule import Schedules

schedules = Schedules(celery)
schedules.pause("report")
print(schedules.status().leader, schedules.next("report", count=3))
schedules.resume("report")
