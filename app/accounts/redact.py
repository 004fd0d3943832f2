"""Keeps Hub tokens out of logs and messages."""

from __future__ import annotations

import logging
import re

TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}|(?i:(?<=bearer )\S{8,})")


def redact(text: str) -> str:
    """The same text without anything that looks like a Hub token."""
    return TOKEN.sub("hf_[hidden]", text)


class RedactingFormatter(logging.Formatter):
    """Another formatter's output, tracebacks included, without tokens."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def hide_tokens_in_logs() -> None:
    """Wrap the formatter of every handler there is. Call it again after handlers were added; it wraps each once."""
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for logger in (logging.root, *known):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, RedactingFormatter):
                handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter()))
