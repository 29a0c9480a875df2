"""What the bundled tasks do, for use in tasks and views of your own: mail, CSV export, YARA scan, database tables."""
