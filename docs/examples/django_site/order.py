import time

import django

django.setup()

from django.test import Client  # noqa: E402

visitor = Client()
placed = visitor.post("/orders", {"customer": "Ann"})
print(placed.status_code, placed.json())

while not visitor.get(f"/orders/{placed.json()['order']}").json()["confirmed"]:
    time.sleep(0.1)
print("confirmed")
