import time

from shop.tasks.parts import price, reserve

began = time.monotonic()
print(price.delay("wheel").get(timeout=30))
print(f"after {time.monotonic() - began:.0f} s")

print(reserve.delay("wheel").get(timeout=30))

try:
    reserve.delay("unicorn").get(timeout=30)
except LookupError as error:
    print(error)
