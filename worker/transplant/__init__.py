"""Another model's tokenizer: rows for its tokens made of the model's own, and the same steps as for a merge."""
