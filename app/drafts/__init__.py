"""Recipes in the making, kept on the server while they are worked on."""
