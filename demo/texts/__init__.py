"""The texts of the pages: a module for each page, in each language."""

from demo.texts import common, contact, failed, lookup, report, schedule

PAGES = (common, contact, lookup, report, schedule, failed)
LANGUAGES = {"en": "English", "es": "Español"}
TEXTS: dict[str, dict[str, str]] = {
    lang: {name: text for page in PAGES for name, text in page.TEXTS[lang].items()} for lang in LANGUAGES
}
