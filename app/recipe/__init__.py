"""What to merge. Pure: text in, values out, no I/O and no framework."""
