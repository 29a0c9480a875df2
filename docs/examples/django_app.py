import os
from http.cookies import SimpleCookie

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST

from framework.web.asgi import TaskProgress

settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.file",
)
django = get_asgi_application()

from shop.tasks.report import report  # noqa: E402

PAGE = """<!doctype html>
<html lang="en">
<title>The report</title>
<script type="module" src="/tasks/task-progress.js"></script>
<task-progress src="/tasks{path}"></task-progress>
</html>"""


def visitor_of(scope) -> str | None:
    """The session that the cookie names: nobody else has its key."""
    cookies = SimpleCookie(dict(scope["headers"]).get(b"cookie", b"").decode("latin-1"))
    return cookies["sessionid"].value if "sessionid" in cookies else None


progress = TaskProgress(settings.SECRET_KEY, visitor_of)


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    if not request.session.session_key:
        request.session.create()
    sent = report.delay(40)
    return HttpResponse(PAGE.format(path=progress.path(sent.id, request.session.session_key)))


urlpatterns = [path("reports", order)]


async def app(scope, receive, send):
    """What uvicorn runs: our addresses, and Django's."""
    if scope["type"] != "lifespan" and scope["path"].startswith("/tasks/"):
        await progress({**scope, "root_path": "/tasks"}, receive, send)
    else:
        await django(scope, receive, send)
