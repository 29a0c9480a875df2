"""Schedules: entries that run once on 1 or 100 servers, at the instant that was meant."""

from framework.schedule.control import EntryStatus, Schedules, ScheduleStatus
from framework.schedule.cron import cron

__all__ = ["EntryStatus", "ScheduleStatus", "Schedules", "cron"]
