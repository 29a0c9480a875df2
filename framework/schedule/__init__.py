"""Schedules: each slot of an entry runs once, on 1 or 100 servers."""

from framework.schedule.control import EntryStatus, Schedules, ScheduleStatus
from framework.schedule.cron import cron

__all__ = ["EntryStatus", "ScheduleStatus", "Schedules", "cron"]
