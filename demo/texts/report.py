"""Texts of the report."""

TEXTS = {
    "en": {
        "report": "Report",
        "report_title": "A report that takes its time",
        "report_lead": "200,000 sales, and how sure each month's average is: thousands of samples are drawn for it. "
        "That takes about two minutes. You may close this page; the report continues, and you find it here again.",
        "start": "Make a report",
        "one_report": "Your report is being made already; here it is.",
        "my_reports": "Your reports",
        "no_reports": "You have made none yet.",
        "step_report": "Sales",
        "step_group": "{region}, month {month}",
        "download": "Download (CSV)",
        "month": "Month",
        "euros": "Euros",
        "file_name": "report",
        "report_failed": "The report failed. It is among the failed tasks.",
    },
    "es": {
        "report": "Informe",
        "report_title": "Un informe que se toma su tiempo",
        "report_lead": "200.000 ventas, y cuánto podemos fiarnos de la media de cada mes: para saberlo se extraen "
        "miles de muestras. Tarda unos dos minutos. Puede cerrar esta página: el informe sigue, y aquí lo encontrará.",
        "start": "Hacer un informe",
        "one_report": "Su informe ya se está haciendo; aquí lo tiene.",
        "my_reports": "Sus informes",
        "no_reports": "Todavía no ha hecho ninguno.",
        "step_report": "Ventas",
        "step_group": "{region}, mes {month}",
        "download": "Descargar (CSV)",
        "month": "Mes",
        "euros": "Euros",
        "file_name": "informe",
        "report_failed": "El informe ha fallado. Está entre las tareas fallidas.",
    },
}
