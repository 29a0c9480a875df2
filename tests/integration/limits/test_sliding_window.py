"""One limit under load from four processes of eight threads: no window has more calls than it allows."""

import json
import os
import subprocess
import sys
from statistics import median

import pytest

SECONDS = 60 if os.environ.get("CHAOS_SCALE") == "1" else 5

CROWD = """
import json, sys, threading, time
from framework.celery.app import App
from framework.errors import OverLimit
from framework.limits import Limit

url, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
app = App("crowd", set_as_current=False, broker=url)
limit = Limit(rate, name="crowd", app=app)
taken, waits, checks, end = [], [], [0] * 8, time.time() + seconds

def hammer(number):
    # Each process goes on until it has enough tokens, however slow the machine is.
    while time.time() < end or len(taken) < 3:
        before = time.time()
        try:
            limit.take("Ann")
        except OverLimit as over:
            waits.append(over.retry_after)
        else:
            taken.append((before, time.time()))
        checks[number] += 1

threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"taken": taken, "checks": sum(checks), "longest": max(waits, default=0)}))
"""


@pytest.mark.parametrize(("rate", "most", "window"), [("1/1s", 1, 1.0), ("5/2s", 5, 2.0)])
@pytest.mark.timeout(180)
def test_never_more_than_the_limit_in_any_window(broker_url, environment, rate, most, window):
    command = [sys.executable, "-c", CROWD, broker_url, rate, str(SECONDS)]
    crowd = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    results = [json.loads(process.communicate()[0]) for process in crowd]

    taken = sorted(tuple(each) for one in results for each in one["taken"])
    over_limit = [taken[first : first + most + 1] for first in range(len(taken) - most)]
    spans = [max(after for _, after in some) - some[0][0] for some in over_limit]
    assert min(spans) >= window
    # Constant requests take every free token: no call was refused for long without need. A busy machine may delay some.
    assert median(spans) < 2 * window
    assert max(one["longest"] for one in results) <= window
