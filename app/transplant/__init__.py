"""Pure: giving a model another model's tokenizer. What is wanted, which tokens both have, every tensor as a step."""
