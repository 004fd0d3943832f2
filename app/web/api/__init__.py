"""The JSON API: one module a resource. Handlers parse, call and answer; what they do lives in plain functions."""
