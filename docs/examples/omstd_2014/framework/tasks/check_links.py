from framework.celery.celery import celery

EXPORT = "framework.tasks.export_results_task.export_to_csv"


@celery.task
def check_links(links):
    """Find the links that nobody should follow, and hand them on."""
    insecure = [link for link in links if link.startswith("http://")]
    celery.send_task(EXPORT, ([{"link": link} for link in insecure],))
    return insecure
