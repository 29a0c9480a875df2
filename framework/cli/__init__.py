"""The command ``framework``: Celery's own command line with our application, and more commands."""

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    # Celery's command line imports our commands from this package, so it is imported only here.
    from framework.cli.command import run

    run()
