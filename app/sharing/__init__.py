"""Recipes as links: content-addressed, read-only, forkable."""
