"""Whether this machine's worker is alive, as an exit status: ``python -m worker.health``, for containers.

Alive is who has written its heartbeat into the database of late. Celery's own ping would start a second worker's
worth of imports and fails while a worker is busy.
"""

from __future__ import annotations

import socket
import sys

from sqlalchemy.exc import SQLAlchemyError

from app.db import make_engine, sessions
from app.jobs.store import Store
from app.settings import Settings


def is_alive(settings: Settings, host: str) -> bool:
    """Whether a worker of ``host`` was seen of late. False too when the database cannot be asked."""
    engine = make_engine(settings, durable=False)
    try:
        return any(worker.host == host for worker in Store(sessions(engine)).workers())
    except SQLAlchemyError:
        return False
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(0 if is_alive(Settings(), socket.gethostname()) else 1)
