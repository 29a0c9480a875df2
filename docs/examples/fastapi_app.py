import os
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from shop.tasks.report import report
from starlette.middleware.sessions import SessionMiddleware

from framework.web.asgi import TaskProgress

SECRET = os.environ["SECRET_KEY"]
PAGE = """<!doctype html>
<html lang="en">
<title>The report</title>
<script type="module" src="/tasks/task-progress.js"></script>
<task-progress src="/tasks{path}"></task-progress>
</html>"""

progress = TaskProgress(SECRET, visitor=lambda scope: scope["session"].get("visitor"))

app = FastAPI()
app.mount("/tasks", progress)
app.add_middleware(SessionMiddleware, secret_key=SECRET)


@app.post("/reports")
def order(request: Request) -> HTMLResponse:
    visitor = request.session.setdefault("visitor", uuid4().hex)
    sent = report.delay(40)
    return HTMLResponse(PAGE.format(path=progress.path(sent.id, visitor)))
