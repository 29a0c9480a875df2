"""How Sphinx builds the guide, without the network: English, and Spanish with ``-D language=es``."""

import sys
from pathlib import Path

import framework

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "omstd-framework"
author = "the omstd-framework founders"
copyright = f"2026, {author}"
version = release = framework.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "celery.contrib.sphinx",
    "diagram",
    "english",
    "reference",
]
exclude_patterns = ["_build", "examples", "extensions", "gates", "locales", "recording", "sessions"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
autodoc_class_signature = "separated"
# What celery.contrib.sphinx needs since Sphinx 9.
autodoc_use_legacy_class_based = True
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
# Words in single backquotes are names of Python.
default_role = "py:obj"

# One catalogue for each page. Places and random identities would change in it with every build.
language = "en"
locale_dirs = ["locales"]
gettext_compact = False
gettext_location = False
gettext_uuid = False

# Other projects' names are not looked up, since that would need the network.
OTHERS = "amqp|celery|click|collections|datetime|email|flask|kombu|markupsafe|os|pathlib|smtplib|ssl"
nitpick_ignore_regex = [(r"py:.*", rf"({OTHERS})\..*"), (r"py:class", r"(framework\..*\.)?[PRT]")]


# Of an error its meaning is told; how its message is put together is our own business.
def setup(app):
    app.connect("autodoc-skip-member", lambda _app, parent, *_: parent == "exception" or None)
