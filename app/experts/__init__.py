"""Pure: mixtures of experts out of dense models. What somebody wants, what fits together, and every tensor of it."""
