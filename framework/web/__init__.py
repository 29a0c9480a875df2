"""Live updates in a browser: the progress of a task, pushed to the page that displays it.

`framework.web.flask` is the extension for Flask, `framework.web.asgi` an application for every ASGI server, and
`framework.web.core` has what both share.
"""
