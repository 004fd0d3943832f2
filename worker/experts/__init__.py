"""Mixtures of experts: the base run over prompts, routers made of what it thinks, and the steps strung together."""
