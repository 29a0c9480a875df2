"""Cards that expire soon, marked so that a page can request new ones.

=================  ===========================================================================  =========
variable           what it is                                                                   default
=================  ===========================================================================  =========
``DATABASE_URL``   the database, see `framework.contrib.database`                               none
``CARDS_TABLE``    the table of cards                                                           ``cards``
``CARDS_COLUMNS``  its columns, where they have other names: ``exp_month=month exp_year=year``  as below
=================  ===========================================================================  =========

The columns: ``id``, unique; ``exp_month`` and ``exp_year``, numbers (a year below 100 is of this century); and
``is_expiring``, a boolean or a number.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from framework.contrib.database import ConfiguredTable
from framework.contrib.months import check_period, last_month_over

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

__all__ = ["mark_expiring"]


CENTURY = 2000
#: The longest time to look ahead, in days: a card is not issued for longer than that.
MOST_DAYS = 36_500
COLUMNS = {
    "id": (),
    "exp_month": ("Integer",),
    "exp_year": ("Integer",),
    "is_expiring": ("Boolean", "Integer"),
}


def mark_expiring(today: date, within_days: int = 30) -> int:
    """Mark the cards that expire within ``within_days`` days of ``today``; return how many were not marked before.

    A card is valid to the end of its month. An expired card stays marked until it is renewed; the mark of a renewed
    card is removed. Each batch of some hundreds of rows has its own transaction.

    Raises:
        BadPeriod: ``within_days`` is no number of days.
        BadEnvironment: a setting cannot be used.
        TableMismatch: the table, or a column, is missing or of another type.
        DatabaseUnreachable: the database does not answer; what was marked stays so, and a retry marks the rest.
        DatabaseRefused: the database does not let its rows be changed.
        MissingExtra: SQLAlchemy is not installed.
    """
    check_period("within_days", within_days, least=0, most=MOST_DAYS)
    cards = ConfiguredTable.named("CARDS", "cards", COLUMNS)
    expiring = _over_by(cards, today + timedelta(days=within_days))
    _set(cards, ~expiring, to=False)
    return _set(cards, expiring, to=True)


def _over_by(cards: ConfiguredTable, day: date) -> "ColumnElement[bool]":
    """Return the condition that a card's month has ended when ``day`` has."""
    last_year, last_month = last_month_over(day)
    year, month = cards["exp_year"], cards["exp_month"]
    earlier = (year < last_year - CENTURY) | year.between(100, last_year - 1)
    return earlier | (year.in_([last_year, last_year - CENTURY]) & (month <= last_month))


def _set(cards: ConfiguredTable, rule: "ColumnElement[bool]", *, to: bool) -> int:
    flag = cards["is_expiring"]
    on, off = (True, False) if flag.type.python_type is bool else (1, 0)
    where = rule & ((flag == off) | flag.is_(None) if to else flag == on)
    # The rule stands in the change too: a card renewed since it was read stays as its owner left it.
    change = cards.table.update().where(where).values({flag: on if to else off})
    return sum(cards.change(change.where(cards["id"].in_([row[0] for row in page]))) for page in cards.pages(where))
