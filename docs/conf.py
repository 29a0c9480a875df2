"""How Sphinx builds the guide; `make docs` does it, without the network."""

import framework

project = "omstd-framework"
author = "the omstd-framework founders"
copyright = f"2026, {author}"
version = release = framework.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "celery.contrib.sphinx"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project

myst_enable_extensions = ["deflist"]
autodoc_class_signature = "separated"
# What celery.contrib.sphinx needs since Sphinx 9.
autodoc_use_legacy_class_based = True
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
# Words in single backquotes are names of Python.
default_role = "py:obj"

# One catalogue for each page, whose entries keep their identity when the English is mended.
locale_dirs = ["locales"]
gettext_compact = False
gettext_uuid = True

# Other projects' names are not looked up, since that would need the network.
OTHERS = "amqp|celery|click|collections|datetime|email|flask|kombu|markupsafe|os|pathlib|smtplib|ssl"
nitpick_ignore_regex = [(r"py:.*", rf"({OTHERS})\..*"), (r"py:class", r"framework\..*\.T")]


# Of an error its meaning is told; how its message is put together is our own business.
def setup(app):
    app.connect("autodoc-skip-member", lambda _app, parent, *_: parent == "exception" or None)
