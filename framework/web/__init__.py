"""Live updates in a browser: how far a task is, pushed to the page that waits for it.

`framework.web.flask` is the extension for Flask, `framework.web.asgi` an application for every ASGI server, and
`framework.web.core` what both are made of.
"""
