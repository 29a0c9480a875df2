"""The element ``<task-progress>`` in a real browser."""

import pytest
from selenium.webdriver.support.wait import WebDriverWait

WAIT = 60

pytestmark = pytest.mark.timeout(300)

LOOK = """
const element = document.querySelector("task-progress");
const root = element?.shadowRoot;
if (!root) return null;
const track = root.querySelector("[role=progressbar]");
const text = (selector) => root.querySelector(selector).textContent;
return {
  status: element.getAttribute("status"), now: track.getAttribute("aria-valuenow"),
  min: track.getAttribute("aria-valuemin"), max: track.getAttribute("aria-valuemax"),
  label: track.getAttribute("aria-label"), valuetext: track.getAttribute("aria-valuetext"),
  name: text(".name"), figure: text(".figure"), detail: text(".detail"), spoken: text("[role=status]"),
  steps: [...root.querySelectorAll(".steps li")].map((each) => each.textContent),
  live: root.querySelector("[role=status]").getAttribute("aria-live"),
  animation: getComputedStyle(root.querySelector(".bar")).animationName,
  doneShown: document.querySelector("#done").checkVisibility(),
  events: (window.events ?? []).map(([name]) => name),
  state: element.state,
};
"""


class Page:
    """A page of the site in a browser, and the contents of its element."""

    def __init__(self, window, site):
        self.window = window
        self.site = site
        window.set_script_timeout(WAIT)
        window.get(f"{site}/static/site.css")

    def fetch(self, path, data=None):
        script = """
        const [path, data, done] = arguments;
        const how = data === null ? {} : {
          method: "POST", body: JSON.stringify(data), headers: {"Content-Type": "application/json"}};
        fetch(path, how).then((answer) => answer.json()).then(done);
        """
        return self.window.execute_async_script(script, path, data)

    def call(self, name, *args):
        return self.fetch(f"/call/{name}", list(args))["id"]

    def open(self, task_id, **query):
        options = "&".join(f"{name}={value}" for name, value in query.items())
        self.window.get(f"{self.site}/page/{task_id}?{options}")

    @property
    def seen(self):
        return self.window.execute_script(LOOK)

    def until(self, matches, seconds=WAIT):
        try:
            return WebDriverWait(self.window, seconds, poll_frequency=0.05).until(
                lambda _: (seen := self.seen) and matches(seen) and seen
            )
        except Exception as exc:
            raise AssertionError(f"{self.seen} {self.window.get_log('browser')}") from exc

    def until_half(self):
        return self.until(lambda seen: seen["now"] == "50")

    def until_done(self):
        return self.until(lambda seen: seen["status"] == "success")


@pytest.fixture
def open_page(open_window):
    return lambda server, **options: Page(open_window(**options), server.url)


def test_the_bar_moves_to_the_end(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site())

    page.open(page.call("report", 10_000))
    half = page.until_half()
    go()
    end = page.until_done()

    assert (half["name"], half["figure"], half["doneShown"]) == ("Reading", "50 %", False)
    assert half["detail"].startswith("5,000 of 10,000")
    assert (end["now"], end["figure"], end["name"], end["doneShown"]) == ("100", "100 %", "Done", True)
    assert end["state"]["result"] == {"rows": 10_000}
    assert end["events"][-2:] == ["update", "done"]
    assert page.window.execute_script("return window.broken") == []
    assert page.window.get_log("browser") == []


def test_a_screen_reader_reads_the_progress(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site())
    task = page.call("report", 100)

    page.open(task, attributes='label="Your report"')
    half = page.until_half()
    go()
    end = page.until_done()

    assert (half["min"], half["now"], half["max"]) == ("0", "50", "100")
    assert half["valuetext"] == "Reading, 50 %"
    assert half["label"] == "Your report"
    assert half["live"] == "polite"
    assert half["spoken"] == "Working, 50 %"
    assert end["spoken"] == "Done"
    assert end["valuetext"] == "Done, 100 %"


def test_the_element_on_a_spanish_page_is_in_spanish(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site())

    page.open(page.call("report", 10_000), lang="es")
    half = page.until_half()
    go()
    end = page.until_done()

    assert half["detail"].startswith("5.000 de 10.000")
    assert (half["label"], half["spoken"]) == ("Progreso", "En marcha, 50 %")
    assert end["name"] == "Terminado"


def test_a_reloaded_page_continues_with_the_current_progress(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site())
    page.open(page.call("report", 100))
    page.until_half()

    page.window.refresh()
    page.until_half()
    go()
    page.until_done()
    page.window.refresh()
    end = page.until_done()

    assert end["state"]["result"] == {"rows": 100}


def test_a_page_opened_after_the_end_displays_the_end(start_worker, serve_site, open_page, go, noted, eventually):
    start_worker()
    page = open_page(serve_site())
    task = page.call("report", 100)
    page.open(task)
    page.until_half()

    page.window.get("about:blank")
    go()
    page.open(task)
    end = page.until_done()

    assert end["state"]["result"] == {"rows": 100}


def test_a_page_reconnects_after_a_restart_of_the_server(start_worker, serve_site, open_page, go):
    start_worker()
    server = serve_site()
    page = open_page(server)
    page.open(page.call("report", 100))
    page.until_half()

    server.kill()
    cut = page.until(lambda seen: "No connection" in seen["detail"])
    server.start()
    page.until(lambda seen: "No connection" not in seen["detail"])
    go()
    end = page.until_done()

    assert cut["now"] == "50"
    assert end["events"].count("done") == 1


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_task_whose_worker_is_killed_runs_again_and_ends(start_worker, serve_site, open_page, go):
    worker = start_worker()
    page = open_page(serve_site())
    page.open(page.call("report", 100))
    page.until_half()

    worker.kill()
    start_worker()
    go()
    end = page.until_done()

    assert end["state"]["result"] == {"rows": 100}


def test_a_page_without_a_socket_polls(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site(SITE_TASK_PROGRESS_MAX_SOCKETS="0"))

    page.open(page.call("report", 100))
    page.until_half()
    go()
    end = page.until_done()

    assert end["events"][-1] == "done"


def test_two_visitors_see_only_their_own_tasks(start_worker, serve_site, open_page, go):
    start_worker()
    server = serve_site()
    ann, ben = open_page(server), open_page(server)
    task = ann.call("report", 100)
    hers = ann.fetch(f"/url/{task}")["url"]
    ben_s = ben.call("report", 200)

    ann.open(task)
    ben.open(ben_s)
    ann.until_half()
    ben.until_half()
    ben.window.execute_script("document.querySelector('task-progress').setAttribute('src', arguments[0])", hers)
    refused = ben.until(lambda seen: seen["status"] == "refused")
    go()

    assert refused["name"].startswith("This can no longer be followed")
    assert refused["state"] is None
    assert "refused" in refused["events"]
    assert ann.until_done()["state"]["result"] == {"rows": 100}


def test_two_windows_display_the_same_end_of_a_task(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site())
    page.open(page.call("report", 100))
    first = page.window.current_window_handle
    address = page.window.current_url
    page.window.switch_to.new_window("tab")
    page.window.get(address)
    page.until_half()

    go()
    in_second = page.until_done()
    page.window.switch_to.window(first)
    in_first = page.until_done()

    assert in_first["state"] | {"now": 0} == in_second["state"] | {"now": 0}


def test_a_failure_displays_its_error_without_interpreting_html(start_worker, serve_site, open_page):
    start_worker()
    page = open_page(serve_site())

    page.open(page.call("broken"))
    end = page.until(lambda seen: seen["status"] == "failure" and "failed" in seen["events"])

    assert end["detail"] == "The file has no rows. <b>Choose</b> another one."
    assert end["spoken"].endswith("another one.")
    assert end["events"][-1] == "failed"
    assert end["doneShown"] is False


# What the element displays when the page's clock is some seconds ahead; a change of the label displays it again.
NAMES_LATER = """
const element = document.querySelector("task-progress");
const now = Date.now;
const names = [];
for (let ahead = 0; ahead < 30; ahead += 0.5) {
  Date.now = () => now() + ahead * 1000;
  element.setAttribute("label", `${ahead}`);
  names.push(element.shadowRoot.querySelector(".name").textContent);
}
Date.now = now;
element.removeAttribute("label");
return names;
"""


def test_a_retry_displays_a_countdown(start_worker, serve_site, open_page):
    page = open_page(serve_site())
    page.open(page.call("busy"))
    start_worker()

    retry = page.until(lambda seen: "retrying in" in seen["name"])
    counted = page.until(lambda seen: seen["name"] != retry["name"])
    later = page.window.execute_script(NAMES_LATER)
    page.until_done()

    assert retry["name"].endswith(" seconds")
    assert counted["name"].endswith(" seconds")
    assert "It did not work; retrying in 1 second" in later
    assert retry["detail"] == "The other side is busy."


@pytest.mark.parametrize("reduced", [False, True], ids=["moving", "reduced motion"])
def test_a_task_with_an_unknown_total_displays_activity(start_worker, serve_site, open_page, go, reduced):
    start_worker()
    page = open_page(serve_site(), reduced_motion=reduced)

    page.open(page.call("counting"))
    counting = page.until(lambda seen: seen["name"] == "Counting" and seen["steps"])
    go()
    page.until_done()

    assert counting["now"] is None
    assert counting["figure"] == ""
    assert counting["steps"][0].startswith("inner: ")
    assert (counting["animation"] == "none") is reduced


def test_an_unknown_task_has_no_news(serve_site, open_page):
    page = open_page(serve_site())

    page.open("never-called")

    assert page.until(lambda seen: seen["status"] == "unknown")["name"] == "No news yet"


def test_the_element_fits_on_a_phone(start_worker, serve_site, open_page, go):
    start_worker()
    page = open_page(serve_site(), size=(500, 700))

    page.open(page.call("broken"))
    page.until(lambda seen: seen["status"] == "failure")
    page.window.execute_script("document.body.style.width = '280px'")

    width = page.window.execute_script("return document.querySelector('task-progress').scrollWidth")
    assert width <= 280
