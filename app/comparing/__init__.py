"""PURE: comparing the weights of models. Which tensors meet, what is measured of them, and what follows from it."""
