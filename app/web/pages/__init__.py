"""The pages people see: each module parses a request, calls the parts that do the work, and renders."""
