"""The code of the bundled tasks, for tasks and views of your own: mail, CSV export, YARA scan, database tables."""
