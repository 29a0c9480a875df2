"""The links of the built guide: none is broken, and no page loads anything from the network."""

import re
from functools import cache
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

LOADED = {"script": "src", "img": "src", "iframe": "src", "object": "data", "source": "src", "link": "href"}
ELSEWHERE = re.compile(r"^(https?:)?//")


@cache
def anchors_of(path):
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    return {tag["id"] for tag in soup.find_all(id=True)}


def broken_links(page):
    for link in page.soup.find_all("a", href=True):
        to = urlsplit(link["href"])
        if to.scheme or to.netloc:
            continue
        target = (page.path.parent / unquote(to.path)).resolve() if to.path else page.path
        if not target.is_file():
            yield f"{page.name}: {link['href']} is no page"
        elif to.fragment and target.suffix == ".html" and unquote(to.fragment) not in anchors_of(target):
            yield f"{page.name}: {link['href']} is nowhere on that page"


def test_no_link_within_the_guide_is_broken(pages):
    assert [broken for page in pages for broken in broken_links(page)] == []


def test_every_page_leads_to_itself_in_the_other_language(pages):
    other_pages = {page.path: (page.path.parent / page.soup.select_one("a.other-language")["href"]) for page in pages}
    for page in pages:
        other = other_pages[page.path].resolve()
        assert other.name == page.path.name
        assert other.parent != page.path.parent
        assert other_pages[other].resolve() == page.path


def test_no_page_loads_anything_from_the_network(pages):
    loaded = [
        (page.name, tag[attribute])
        for page in pages
        for name, attribute in LOADED.items()
        for tag in page.soup.find_all(name, attrs={attribute: True})
    ]
    assert [(page, address) for page, address in loaded if ELSEWHERE.match(address)] == []


def test_no_stylesheet_loads_anything_from_the_network(pages):
    sheets = [
        sheet for page in pages if page.path.stem == "index" for sheet in page.path.parent.rglob("_static/**/*.css")
    ]
    assert sheets
    styles = "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    styles += "".join(str(style) for page in pages for style in page.soup.find_all("style"))
    wanted = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", styles)
    assert [address for address in wanted if ELSEWHERE.match(address)] == []


def test_every_page_can_be_reached_from_the_first_one(pages):
    for page in pages:
        if page.path.stem == "index":
            reached = {link["href"].partition("#")[0] for link in page.soup.find_all("a", href=True)} | {""}
            written = {other.path.name for other in pages if other.language == page.language and other.is_written}
            assert written - reached <= {"index.html"}
