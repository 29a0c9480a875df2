"""The report: started here, watched here, and still here for whoever comes back."""

from flask import Blueprint, current_app, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue

from demo.tasks.report import sales_report

blueprint = Blueprint("report", __name__)
KEPT = 5


@blueprint.get("/report")
def show() -> str:
    """This visitor's reports, newest first."""
    return render_template("report.html", reports=session.get("reports", []))


@blueprint.post("/report")
def start() -> ResponseReturnValue:
    """Queue a report."""
    result = sales_report.delay(current_app.config["REPORT_SALES"])
    session["reports"] = [result.id, *session.get("reports", [])][:KEPT]
    return redirect(url_for("report.show"), 303)
