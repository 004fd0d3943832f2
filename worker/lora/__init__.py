"""Adapters as results: merged from adapters, or extracted from a fine-tune. NumPy only."""
