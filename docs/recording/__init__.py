"""Follow a page of the guide as a reader does: what it says to write is written, what it says to type is typed."""
