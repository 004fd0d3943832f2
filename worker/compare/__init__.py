"""Comparing weights: reading rows of many models side by side, and the arithmetic on them."""
