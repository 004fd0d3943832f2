"""The web process of Weightloom, and what web and worker share. Never imports torch or the worker."""
