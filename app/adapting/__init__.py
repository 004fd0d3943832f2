"""Pure: adapters as results. What somebody wants made, what headers tell of it, what it will cost."""
