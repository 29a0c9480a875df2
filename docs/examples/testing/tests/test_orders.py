from decimal import Decimal

from shop.tasks.orders import confirm, total


def test_prices_are_added_exactly():
    assert total(["0.10", "0.20"]) == Decimal("0.30")


def test_the_task_is_a_function_too(monkeypatch):
    monkeypatch.setattr("shop.tasks.orders.send_mail.delay", lambda **_: None)

    assert confirm("Ann", ["9.50", "0.50"]) == "10.00"
