"""The guide is accessible: contrast, screen readers, keyboard, dark mode, phones, search."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.wait import WebDriverWait

from framework.testing.browser import open_browser

PHONE, DESKTOP = (390, 844), (1280, 900)
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
PALE_AND_WIDE = """
<body style="background: #fff">
<style>body[data-theme=dark] { color: #222; background: #000 !important }</style>
<article><p style="color: #999">pale</p><p>of the night</p><div style="width: 900px">wide</div></article>
"""
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, needed):
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        needed("The pages are not checked: install chromium and chromium-driver.")
    browser = open_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def seen(browser, pages):
    """What look.js measures of each page on a phone, in light and in dark mode."""
    set_size(browser, PHONE)
    found = {}
    for page in pages:
        browser.get(page.path.as_uri())
        found[page.name] = browser.execute_script(LOOK)
    return found


def set_size(browser, size):
    """Set the size of the page: a window cannot be as narrow as a phone."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_every_picture_has_an_alternative_text(pages):
    pictures = [(page.name, picture) for page in pages for picture in page.soup.select("article img, article svg")]
    silent = [
        f"{page}: {str(picture)[:100]}"
        for page, picture in pictures
        if not (picture.get("alt") or picture.get("aria-label") or picture.get("aria-hidden") == "true")
    ]
    assert silent == []


def test_a_page_has_one_title_and_skips_no_level_of_headings(pages):
    for page in (page for page in pages if page.is_written):
        levels = [int(heading.name[1]) for heading in page.soup.find("article").find_all(HEADINGS)]
        assert levels.count(1) == 1, page.name
        assert levels[0] == 1, page.name
        assert [pair for pair in pairwise(levels) if pair[1] > pair[0] + 1] == [], page.name


def test_a_page_declares_its_language(pages):
    assert {page.name: page.soup.html["lang"] for page in pages} == {page.name: page.language for page in pages}


def test_all_text_has_enough_contrast(seen):
    pale = [
        f"{page}, {mode}: {text}" for page, saw in seen.items() for mode in saw["pale"] for text in saw["pale"][mode]
    ]
    assert not pale, "\n".join(pale)


def test_no_page_is_wider_than_a_phone(seen):
    wide = [
        f"{page}: {saw['width']} px, because of {saw['wide']}" for page, saw in seen.items() if saw["width"] > PHONE[0]
    ]
    assert not wide, "\n".join(wide)


def test_the_words_of_a_diagram_stay_in_their_boxes(seen):
    assert {page: saw["cut"] for page, saw in seen.items() if saw["cut"]} == {}


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_keyboard_leads_to_the_other_language_and_back(browser, pages, size):
    set_size(browser, size)
    english, spanish = (page.path.as_uri() for page in pages if page.path.name == "delivery.html")
    browser.get(english)
    press_when_focused(browser, "a.other-language")
    assert browser.current_url == spanish
    press_when_focused(browser, "a.other-language")
    assert browser.current_url == english


def press_when_focused(browser, selector):
    for _ in range(200):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.execute_script("return document.activeElement.matches(arguments[0])", selector):
            ActionChains(browser).send_keys(Keys.ENTER).perform()
            return
    pytest.fail(f"{selector} is not reached with the Tab key on {browser.current_url}")


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_search_finds_pages_of_its_own_language_from_the_disk(browser, pages, language):
    search = next(page.path for page in pages if page.language == language and page.path.stem == "search")
    browser.get(f"{search.as_uri()}?q=rabbitmq")
    found = WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", "#search-results li a"))
    assert found[0].get_attribute("href").startswith(search.parent.as_uri() + "/")


def test_low_contrast_and_a_wide_page_are_noticed(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PALE_AND_WIDE)
    set_size(browser, PHONE)
    browser.get(page.as_uri())

    saw = browser.execute_script(LOOK)

    assert saw["width"] > PHONE[0]
    assert "900px" in saw["wide"]
    assert [text.split()[-1] for text in saw["pale"]["light"]] == ["pale"]
    assert [text.split()[-1] for text in saw["pale"]["dark"]] == ["night", "wide"]
