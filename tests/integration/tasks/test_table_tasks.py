"""Cards that expire and accounts without activity, in a real SQLite, and in a real PostgreSQL where there is one."""

import asyncio
import os
import re
import sys
from calendar import monthrange
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from threading import Event, Semaphore
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sql

from framework.celery.celery import celery
from framework.contrib import accounts, cards, database
from framework.contrib.mail_address import SUBJECT_LIMIT
from framework.errors import (
    BadEnvironment,
    BadMail,
    BadPeriod,
    DatabaseRefused,
    DatabaseUnreachable,
    MissingExtra,
    TableMismatch,
)
from framework.tasks.dormant_accounts import delete_dormant_accounts, remind_dormant_accounts
from framework.tasks.expiring_cards import mark_expiring_cards
from framework.testing.mailbox import Mailbox

POSTGRES = os.environ.get("TEST_POSTGRES_URL")  # postgresql://user:password@host/database; a schema is made there
SCHEMA = "framework_scheduled_test"
MARK = "framework.tasks.expiring_cards.mark_expiring_cards"
REMIND = "framework.tasks.dormant_accounts.remind_dormant_accounts"
DELETE = "framework.tasks.dormant_accounts.delete_dormant_accounts"

TODAY = date(2026, 11, 20)
NOW = datetime(2026, 8, 31, 1, 0, tzinfo=ZoneInfo("Europe/Madrid"))
METADATA = sql.MetaData()
CARDS = sql.Table(
    "cards",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("exp_month", sql.SmallInteger),
    sql.Column("exp_year", sql.SmallInteger),
    sql.Column("is_expiring", sql.Boolean),
)
ACCOUNTS = sql.Table(
    "accounts",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("email", sql.String(320)),
    sql.Column("last_active_at", sql.DateTime(timezone=True)),
    sql.Column("reminded_at", sql.DateTime(timezone=True)),
)
ORDERS = sql.Table(
    "orders",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("account", sql.ForeignKey("accounts.id")),
)

# What keeps a transaction open in the middle of a table until its worker is killed.
SLOW = {
    "sqlite": [
        """create trigger slow before update on cards when new.id = 5000 begin select count(*) from (
        with recursive n(x) as (select 1 union all select x + 1 from n where x < 40000000000) select x from n); end"""
    ],
    "postgresql": [
        "create function slow() returns trigger as $$ begin perform pg_sleep(600); return new; end $$ language plpgsql",
        "create trigger slow before update on cards for each row when (new.id = 5000) execute function slow()",
    ],
}
# PostgreSQL does not see the end of a client that it works for.
QUICK = {
    "sqlite": ["drop trigger slow"],
    "postgresql": [
        """select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event = 'PgSleep'""",
        "drop trigger slow on cards",
    ],
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path, monkeypatch):
    """A database with empty tables, the one that the tasks use."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/shop.db"
    elif POSTGRES:
        url = f"{POSTGRES.replace('postgresql:', 'postgresql+psycopg:')}?options=-csearch_path%3D{SCHEMA}"
    else:
        pytest.skip("TEST_POSTGRES_URL names no PostgreSQL to test with")
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.fixture
def engine(url):
    # A worker that was paused keeps an SQLite locked meanwhile.
    engine = sql.create_engine(url, connect_args={"timeout": 60} if url.startswith("sqlite") else {})
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sql.text(f"drop schema if exists {SCHEMA} cascade"))
            connection.execute(sql.text(f"create schema {SCHEMA}"))
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """No settings of whoever runs the tests; no connection outlives its test."""
    for name in (
        "DATABASE_URL",
        *(f"{a}_{b}" for a in ("CARDS", "ACCOUNTS") for b in ("TABLE", "COLUMNS", "TEMPLATE")),
    ):
        monkeypatch.delenv(name, raising=False)
    database._reflected.cache_clear()
    database._engine.cache_clear()
    yield
    url = os.environ.get("DATABASE_URL")
    if url and database._engine.cache_info().currsize:
        database._engine(url, os.getpid()).dispose()


@pytest.fixture
def fill(engine):
    """Put rows into a table."""

    def fill(table, rows):
        with engine.begin() as connection:
            connection.execute(table.insert(), rows)

    return fill


@pytest.fixture
def rows(engine):
    """All rows of a table, in order."""

    def rows(table):
        with engine.connect() as connection:
            return connection.execute(table.select().order_by(table.c.id)).all()

    return rows


@pytest.fixture
def mailbox(monkeypatch):
    with Mailbox() as mailbox:
        monkeypatch.setenv("MAIL_SERVER", "127.0.0.1")
        monkeypatch.setenv("MAIL_PORT", str(mailbox.port))
        yield mailbox


@pytest.fixture
def send(app):
    """Call a task by its name, as a scheduler does."""
    return lambda name, *args, **kwargs: app.send_task(name, args, kwargs)


@pytest.fixture
def worker(start_worker):
    """Start a worker that has the settings of this test."""

    def start():
        return start_worker(
            **{name: value for name, value in os.environ.items() if name.startswith(("DATABASE_", "MAIL_"))}
        )

    return start


def card(number, year, month, *, marked=False):
    return {"id": number, "exp_year": year, "exp_month": month, "is_expiring": marked}


def account(number, active, reminded=None, email=None):
    return {
        "id": number,
        "email": email or f"user{number}@x.org",
        "last_active_at": active,
        "reminded_at": reminded,
    }


def long_ago(days=400):
    return datetime.now(UTC) - timedelta(days=days)


def marked(rows):
    return [row.id for row in rows(CARDS) if row.is_expiring]


@pytest.mark.parametrize(
    ("year", "month", "expiring"),
    [
        (2026, 11, True),
        (2026, 12, False),
        (2026, 10, True),
        (2025, 12, True),
        (2027, 1, False),
        (2027, 11, False),
        (26, 11, True),
        (26, 12, False),
        (27, 1, False),
        (None, None, False),
    ],
)
def test_a_card_is_good_to_the_end_of_its_month(fill, rows, year, month, expiring):
    fill(CARDS, [card(1, year, month)])

    cards.mark_expiring(TODAY, within_days=30)

    assert bool(rows(CARDS)[0].is_expiring) == expiring


def test_a_card_whose_last_day_is_within_the_days_is_marked_and_not_a_day_earlier(fill, rows):
    fill(CARDS, [card(1, 2026, 12)])

    assert cards.mark_expiring(date(2026, 12, 1), within_days=29) == 0
    assert cards.mark_expiring(date(2026, 12, 1), within_days=30) == 1


def test_a_renewed_card_is_no_longer_marked(fill, rows):
    fill(CARDS, [card(1, 2030, 1, marked=True), card(2, 2026, 11, marked=None)])

    assert cards.mark_expiring(TODAY) == 1

    assert marked(rows) == [2]


def test_marked_cards_are_not_counted_again_among_ten_thousand(fill, rows):
    fill(CARDS, [card(number, 2026 + number % 2, 11) for number in range(10_000)])

    assert cards.mark_expiring(TODAY) == 5_000
    assert cards.mark_expiring(TODAY) == 0

    assert marked(rows) == list(range(0, 10_000, 2))


def test_today_is_the_date_in_the_zone_of_the_settings(fill, monkeypatch):
    # These two zones are 25 hours apart: there is never one date for both.
    later = datetime.now(ZoneInfo("Pacific/Kiritimati")).date()
    fill(CARDS, [card(1, later.year, later.month)])
    days = monthrange(later.year, later.month)[1] - later.day

    with in_zone("Pacific/Pago_Pago"):
        assert mark_expiring_cards(days) == 0
    with in_zone("Pacific/Kiritimati"):
        assert mark_expiring_cards(days) == 1


class in_zone:  # noqa: N801
    """The application's time zone, for a while."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.before = celery.conf.timezone
        self.set(self.name)

    def __exit__(self, *error):
        self.set(self.before)

    def set(self, name):
        celery.conf.timezone = name
        celery.__dict__.pop("timezone", None)


@pytest.mark.parametrize(
    ("active", "dormant"),
    [
        ("2026-02-27T23:59:59+00:00", True),
        ("2026-02-28T00:00:00+00:00", True),
        ("2026-02-28T00:00:01+00:00", False),
        ("2026-08-30T23:00:00+00:00", False),
        (None, False),
    ],
)
def test_six_months_before_the_31st_of_august_is_the_last_of_february_on_the_same_clock(fill, rows, active, dormant):
    # 01:00 in Madrid on 28 February is midnight in UTC.
    fill(ACCOUNTS, [account(1, active and datetime.fromisoformat(active))])

    assert [found for found, _ in accounts.to_remind(NOW)] == [1] * dormant


def test_who_is_reminded_gets_one_mail_until_the_account_was_used_and_left_again(fill, rows, engine, mailbox):
    fill(ACCOUNTS, [account(1, datetime(2025, 1, 1, 23, 30, tzinfo=UTC))])

    assert accounts.remind(1, NOW, key="first") is True
    assert accounts.remind(1, NOW) is False
    assert list(accounts.to_remind(NOW)) == []

    [message] = mailbox.wait_for(1)
    assert message["To"] == message["Delivered-To"] == "user1@x.org"
    assert message["Message-ID"] == "<first@localhost>"
    assert "user1@x.org has not been used since 2025-01-02" in message.get_content()

    with engine.begin() as connection:
        times = {"last_active_at": datetime(2026, 1, 1, tzinfo=UTC), "reminded_at": datetime(2025, 9, 1, tzinfo=UTC)}
        connection.execute(ACCOUNTS.update().values(**times))
    assert accounts.remind(1, NOW) is True
    assert len(mailbox.wait_for(2)) == 2


def test_who_came_back_after_being_queued_is_not_reminded(fill, mailbox):
    fill(ACCOUNTS, [account(1, NOW)])

    assert accounts.remind(1, NOW) is False

    assert mailbox.messages == []


def test_who_tries_while_a_mail_is_being_sent_waits_and_sends_none(fill, monkeypatch):
    fill(ACCOUNTS, [account(1, long_ago())])
    with HoldingMailbox() as mailbox, ThreadPoolExecutor(2) as threads:
        monkeypatch.setenv("MAIL_SERVER", "127.0.0.1")
        monkeypatch.setenv("MAIL_PORT", str(mailbox.port))

        first = threads.submit(accounts.remind, 1, NOW)
        assert mailbox.requested.acquire(timeout=60)
        second = threads.submit(accounts.remind, 1, NOW)
        another_mail = mailbox.requested.acquire(timeout=0.5)
        mailbox.answer.set()

        assert not another_mail
        assert (first.result(60), second.result(60)) == (True, False)
        assert len(mailbox.messages) == 1


class HoldingMailbox(Mailbox):
    """Answers a number of mails, and no other until the test releases it."""

    def __init__(self, answered=0):
        super().__init__()
        self.answered, self.requested, self.answer = answered, Semaphore(0), Event()

    async def handle_DATA(self, *given):
        if len(self.messages) >= self.answered:
            self.requested.release()
            await asyncio.to_thread(self.answer.wait, 60)
        return await super().handle_DATA(*given)


def test_a_card_that_is_renewed_while_its_batch_is_read_is_not_marked(fill, rows, engine):
    fill(CARDS, [card(1, 2026, 11), card(2, 2026, 11)])
    renewed = CARDS.update().where(CARDS.c.id == 1).values(exp_year=2030)

    with just_before("UPDATE cards SET is_expiring", engine, renewed):
        assert cards.mark_expiring(TODAY) == 1

    assert marked(rows) == [2]


def test_an_account_that_is_used_while_its_batch_is_read_is_not_deleted(fill, rows, engine):
    fill(ACCOUNTS, [account(1, long_ago()), account(2, long_ago())])
    used = ACCOUNTS.update().where(ACCOUNTS.c.id == 1).values(last_active_at=datetime.now(UTC))

    with just_before("DELETE FROM accounts", engine, used):
        assert delete_dormant_accounts()["deleted"] == 1

    assert [row.id for row in rows(ACCOUNTS)] == [1]


@contextmanager
def just_before(beginning, engine, statement):
    """Change a row from another connection, just before the task executes a statement that begins so."""
    done = []

    def interfere(connection, cursor, text, *_):
        if text.startswith(beginning) and connection.engine is not engine and not done:
            done.append(text)
            with engine.begin() as other:
                other.execute(statement)

    sql.event.listen(sql.Engine, "before_cursor_execute", interfere)
    yield
    sql.event.remove(sql.Engine, "before_cursor_execute", interfere)
    assert done


def test_a_reminder_that_could_not_be_sent_counts_as_not_sent(fill, rows, monkeypatch):
    fill(ACCOUNTS, [account(1, long_ago())])
    with Mailbox(fail_first=1) as mailbox:
        monkeypatch.setenv("MAIL_SERVER", "127.0.0.1")
        monkeypatch.setenv("MAIL_PORT", str(mailbox.port))

        with pytest.raises(OSError):
            accounts.remind(1, NOW)
        assert rows(ACCOUNTS)[0].reminded_at is None

        assert accounts.remind(1, NOW) is True


def test_an_address_that_is_none_is_refused_by_the_accounts_id(fill, rows, mailbox):
    fill(ACCOUNTS, [account(7, long_ago(), email="a@x.org\nBcc: b@x.org")])

    with pytest.raises(BadMail, match=r"recipient \(account 7\) is no address"):
        accounts.remind(7, NOW)

    assert rows(ACCOUNTS)[0].reminded_at is None
    assert mailbox.messages == []


@pytest.mark.parametrize(
    "text", ["Hello $address", "Subject: $nothing\n\nText", f"Subject: {'x' * SUBJECT_LIMIT}x\n\n-"]
)
def test_a_template_that_cannot_be_used_is_named(fill, mailbox, monkeypatch, tmp_path, text):
    fill(ACCOUNTS, [account(1, long_ago())])
    (tmp_path / "mine.txt").write_text(text)
    monkeypatch.setenv("ACCOUNTS_TEMPLATE", str(tmp_path / "mine.txt"))

    with pytest.raises(BadEnvironment, match=r"ACCOUNTS_TEMPLATE is .*mine\.txt"):
        accounts.remind(1, NOW)


def test_ten_thousand_accounts_are_deleted_in_batches_and_accounts_in_use_stay(fill, rows):
    fill(ACCOUNTS, [account(number, long_ago() if number % 2 else datetime.now(UTC)) for number in range(10_000)])

    assert delete_dormant_accounts()["deleted"] == 5_000
    assert delete_dormant_accounts() == {"deleted": 0, "refused": 0, "errors": []}

    assert [row.id for row in rows(ACCOUNTS)] == list(range(0, 10_000, 2))


def test_an_account_that_others_refer_to_keeps_none_of_the_others_and_the_result_says_why(fill, rows):
    """A19."""
    fill(ACCOUNTS, [account(number, long_ago()) for number in range(600)])
    fill(ORDERS, [{"id": 1, "account": 7}])

    done = delete_dormant_accounts()

    assert (done["deleted"], done["refused"]) == (599, 1)
    assert [row.id for row in rows(ACCOUNTS)] == [7]
    [error] = done["errors"]
    assert re.match(r"(?i)account 7: .*foreign key.*undone.*constraints", error)


def test_of_many_accounts_that_are_refused_the_first_errors_are_in_the_result(fill, rows):
    fill(ACCOUNTS, [account(number, long_ago()) for number in range(50)])
    fill(ORDERS, [{"id": number, "account": number} for number in range(50)])

    done = delete_dormant_accounts()

    assert (done["deleted"], done["refused"], len(done["errors"])) == (0, 50, 20)
    assert len(rows(ACCOUNTS)) == 50


def test_a_refusal_of_the_statement_concerns_no_single_row():
    def refusal(kind):
        try:
            with database._converting_errors(sql.make_url("sqlite://")):
                raise kind("delete", {}, Exception("refused"))
        except DatabaseRefused as refused:
            return refused

    assert database.concerns_rows(refusal(sql.exc.IntegrityError))
    assert not database.concerns_rows(refusal(sql.exc.ProgrammingError))


def test_tables_and_columns_of_other_names_are_mapped(engine, rows, monkeypatch):
    other = sql.Table(
        "bank_cards",
        sql.MetaData(),
        sql.Column("id", sql.Integer, primary_key=True),
        sql.Column("mm", sql.Integer),
        sql.Column("yy", sql.Integer),
        sql.Column("soon", sql.Integer),
    )
    other.create(engine)
    with engine.begin() as connection:
        connection.execute(other.insert(), [{"mm": 11, "yy": 26, "soon": None}, {"mm": 11, "yy": 30, "soon": 1}])
    monkeypatch.setenv("CARDS_TABLE", "bank_cards")
    monkeypatch.setenv("CARDS_COLUMNS", "exp_month=mm, exp_year=yy is_expiring=soon")

    assert cards.mark_expiring(TODAY) == 1

    assert [row.soon for row in rows(other)] == [1, 0]


@pytest.mark.parametrize(
    ("setting", "value", "fault"),
    [
        ("CARDS_TABLE", "kards", "has no table 'kards'; it has accounts, cards, orders"),
        ("CARDS_COLUMNS", "exp_month=month", "no column 'month'; it has exp_month, exp_year, id, is_expiring"),
        ("CARDS_COLUMNS", "is_expiring=exp_month exp_month=is_expiring", "is BOOLEAN: it must be Integer"),
        ("CARDS_COLUMNS", "month=exp_month", "one of id, exp_month, exp_year, is_expiring"),
        ("CARDS_COLUMNS", "exp_month", "pairs such as"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(engine, monkeypatch, setting, value, fault):
    monkeypatch.setenv(setting, value)

    with pytest.raises((TableMismatch, BadEnvironment)) as error:
        cards.mark_expiring(TODAY)

    assert fault in error.value.message


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "DATABASE_URL is ''"),
        ("shop", "DATABASE_URL is '***'"),
        ("postgres://me:secret@host/shop", "'postgres://me:***@host/shop'"),
        ("mysql+nodriver://me:secret@host/shop", "'mysql+nodriver://me:***@host/shop'"),
        ("oracle+cx_oracle://me:secret@host/shop", "No module named 'cx_Oracle'"),
    ],
)
def test_an_invalid_url_is_refused_without_its_password(monkeypatch, url, fault):
    monkeypatch.setenv("DATABASE_URL", url)

    with pytest.raises(BadEnvironment) as error:
        cards.mark_expiring(TODAY)

    assert fault in error.value.message
    assert "secret" not in error.value.message


def test_without_sqlalchemy_the_error_names_the_package(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///shop.db")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)

    with pytest.raises(MissingExtra, match=r'pip install "omstd-framework\[sql\]"'):
        cards.mark_expiring(TODAY)


def test_an_unreachable_database_is_an_error_that_may_be_retried(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none/shop.db")

    with pytest.raises(DatabaseUnreachable, match=r"none/shop\.db cannot be used: .*unable to open") as error:
        cards.mark_expiring(TODAY)

    assert isinstance(error.value, OSError)
    assert OSError in mark_expiring_cards.autoretry_for
    assert OSError in remind_dormant_accounts.autoretry_for


@pytest.mark.parametrize("days", [-1, 1.5, "30", True, 10**9])
def test_a_number_of_days_that_is_none_is_refused(engine, days):
    with pytest.raises(BadPeriod, match="within_days is"):
        cards.mark_expiring(TODAY, days)


@pytest.mark.parametrize("months", [0, -6, None, 6.0, 10**9])
def test_no_account_is_deleted_for_a_number_of_months_that_is_none(fill, rows, months):
    fill(ACCOUNTS, [account(1, long_ago())])

    with pytest.raises(BadPeriod, match="months is"):
        accounts.delete_dormant(NOW, months)

    assert len(rows(ACCOUNTS)) == 1


@pytest.mark.timeout(300)
def test_two_workers_mark_ten_thousand_cards_at_once_and_count_each_once(send, worker, fill, rows):
    fill(CARDS, [card(number, 2020 + 20 * (number % 2), 1) for number in range(10_000)])
    worker(), worker()

    results = [send(MARK) for _ in range(4)]

    assert sum(result.get(60) for result in results) == 5_000
    assert marked(rows) == list(range(0, 10_000, 2))


@pytest.mark.timeout(300)
def test_a_worker_killed_while_marking_leaves_whole_batches_and_the_next_one_goes_on(
    send, worker, fill, rows, engine, eventually
):
    fill(CARDS, [card(number, 2020, 1) for number in range(10_000)])
    kind = engine.dialect.name
    with engine.begin() as connection:
        for statement in SLOW[kind]:
            connection.execute(sql.text(statement))
    first = worker()
    result = send(MARK)

    eventually(lambda: len(marked(rows)) == 5_000)
    first.kill()
    with engine.begin() as connection:
        for statement in QUICK[kind]:
            connection.execute(sql.text(statement))
    worker()

    assert result.get(60) == 5_000
    assert len(marked(rows)) == 10_000


@pytest.mark.timeout(300)
def test_two_workers_remind_at_once_and_each_account_has_one_mail(send, worker, fill, mailbox, rows, eventually):
    fill(ACCOUNTS, [account(number, long_ago() if number < 40 else datetime.now(UTC)) for number in range(10_000)])
    worker(), worker()

    results = [send(REMIND) for _ in range(2)]

    # The second one finds those that were not reminded meanwhile.
    assert max(result.get(60) for result in results) == 40
    eventually(lambda: sum(row.reminded_at is not None for row in rows(ACCOUNTS)) == 40)
    assert send(REMIND).get(60) == 0
    assert Counter(message["To"] for message in mailbox.messages) == {f"user{n}@x.org": 1 for n in range(40)}


@pytest.mark.timeout(300)
def test_a_worker_killed_while_reminding_loses_no_mail_and_repeats_only_unfinished_ones(
    send, worker, fill, rows, eventually, monkeypatch
):
    fill(ACCOUNTS, [account(number, long_ago()) for number in range(80)])
    with HoldingMailbox(answered=20) as mailbox:
        monkeypatch.setenv("MAIL_SERVER", "127.0.0.1")
        monkeypatch.setenv("MAIL_PORT", str(mailbox.port))
        first = worker()
        send(REMIND)

        assert mailbox.requested.acquire(timeout=60)
        first.kill()
        assert len(mailbox.messages) < 80
        mailbox.answer.set()
        worker()
        eventually(lambda: all(row.reminded_at is not None for row in rows(ACCOUNTS)))

    mails = Counter(message["To"] for message in mailbox.messages)
    assert len(mails) == 80
    # The worker had two processes, with one unfinished mail each; both mails of a pair have one Message-ID.
    assert len(mailbox.messages) <= 82
    assert len({message["Message-ID"] for message in mailbox.messages}) == 80


@pytest.mark.timeout(300)
def test_accounts_are_deleted_by_two_workers_at_once_and_each_is_counted_once(send, worker, fill, rows):
    fill(ACCOUNTS, [account(number, long_ago() if number % 2 else datetime.now(UTC)) for number in range(10_000)])
    worker(), worker()

    results = [send(DELETE) for _ in range(4)]

    assert sum(result.get(60)["deleted"] for result in results) == 5_000
    assert len(rows(ACCOUNTS)) == 5_000
