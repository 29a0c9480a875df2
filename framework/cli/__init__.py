"""The command ``framework``: Celery's command line with the framework's application and commands."""

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    # Imported late: Celery's command line imports the commands of this package.
    from framework.cli.command import run

    run()
