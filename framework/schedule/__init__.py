"""Schedules: entries that run once on 1 or 100 servers, at the instant that was meant."""

from framework.schedule.cron import cron

__all__ = ["cron"]
