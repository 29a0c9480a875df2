"""The report: started, watched and downloaded."""

from pathlib import Path
from uuid import UUID

from flask import Blueprint, abort, current_app, flash, g, redirect, render_template, send_file, session, url_for
from flask.typing import ResponseReturnValue

from demo import sales
from demo.formats import source
from demo.mail_server import folder
from demo.tasks.report import sales_report
from framework.web.flask import visitor_of_session

blueprint = Blueprint("report", __name__)
REPORTS_PER_VISITOR = 5


@blueprint.get("/report")
def show() -> str:
    """Show this visitor's reports, newest first."""
    reports = [(each, sales.months(file(each)) if file(each).exists() else []) for each in session.get("reports", [])]
    return render_template("report.html", reports=reports, code=source(start, sales_report))


@blueprint.post("/report")
def start() -> ResponseReturnValue:
    """Queue a report, unless the visitor has one queued or running."""
    size = current_app.config["REPORT_ROWS"], current_app.config["REPORT_ROUNDS"]
    report_id = sales_report.delay(visitor_of_session(), *size, g.lang).id
    known = session.get("reports", [])
    if report_id in known:
        flash(g.texts["one_report"])
    else:
        session["reports"] = [report_id, *known][:REPORTS_PER_VISITOR]
    return redirect(url_for("report.show"), 303)


@blueprint.get("/report/<uuid:report_id>.csv")
def download(report_id: UUID) -> ResponseReturnValue:
    """Send a report of this visitor as a file."""
    if str(report_id) not in session.get("reports", []) or not file(str(report_id)).exists():
        abort(404)
    return send_file(file(str(report_id)), as_attachment=True, download_name=f"{g.texts['file_name']}.csv")


def file(report_id: str) -> Path:
    """Return the path of a report that is done."""
    return folder("reports") / f"{report_id}.csv"
