"""Whether this process is to hand its job back: its worker shuts down."""

from __future__ import annotations

import threading

STOPPING = threading.Event()
"""Set by the worker's signal, looked at whenever a step checks."""
