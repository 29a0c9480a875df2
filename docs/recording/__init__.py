"""Follows a page of the guide as a reader does: writes its files, types its commands, compares the output."""
