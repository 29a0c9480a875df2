from shop.tasks import pack

print(pack.delay(7).get(timeout=10))
