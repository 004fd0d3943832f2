"""Compiled inner loops of the CPU back end. Nothing here allocates more than a few tiles or knows of files."""
