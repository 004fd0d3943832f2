"""The Celery application of the workers: configuration, and what happens as a worker comes and goes.

The database row is the job, a message only says "look at it". So losing, doubling or delaying messages is harmless, and
everything here favours simple delivery and a quick, clean stop.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import Celery, signals

from app.accounts.redact import hide_tokens_in_logs
from app.jobs.queue import QUEUES
from app.jobs.redis_urls import broker_url
from app.settings import Settings
from worker.keeper import Keeper
from worker.stopping import STOPPING

log = logging.getLogger(__name__)

HAND_BACK = signal.SIGUSR2
"""Tells the process of a job to hand it back."""
STOP_SECONDS = 20.0
"""How long a stopping worker waits for that; then the process is ended, and the lease brings the job back."""
LOOK_SECONDS = 0.3
"""How often the parent looks whether the process of a job has ended."""

settings = Settings()
celery = Celery("weightloom", broker=broker_url(settings.redis), include=["worker.tasks"])
celery.conf.update(
    task_ignore_result=True,  # the outcome is in our table
    task_serializer="json",
    accept_content=["json"],
    task_routes={kind: {"queue": queue} for kind, queue in QUEUES.items()},
    task_acks_late=True,  # the message outlives a dead worker...
    task_reject_on_worker_lost=True,  # ... and is back within seconds when only the process of the job died
    task_acks_on_failure_or_timeout=True,  # a job's failure is in its row; anything else is a bug and must not loop
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # a worker busy for hours holds no second job
    worker_pool="prefork",
    worker_pool_start_method="spawn",  # threads and CUDA do not survive a fork
    worker_concurrency=1,
    worker_max_tasks_per_child=1,  # all memory of a job goes with its process
    worker_proc_alive_timeout=60,  # a busy machine may need long to start a process
    worker_soft_shutdown_timeout=2,  # only when the hand-back took too long, see below
    worker_cancel_long_running_tasks_on_connection_loss=False,  # a pause of Redis must not end a merge of hours
    worker_enable_remote_control=False,  # who reaches Redis must not command workers
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # Redis may be away for any time
    broker_transport_options={
        "visibility_timeout": 24 * 3600,  # the lease brings jobs back long before
        "health_check_interval": 25,
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
        "socket_keepalive": True,
    },
)

_keeper: Keeper | None = None


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    hide_tokens_in_logs()


@signals.worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    """The parent hears the queue now."""
    global _keeper
    # Celery looks the moment a process closes its files, which may be a moment before it can be seen to have ended, and
    # then again after five seconds: too long for the next job to wait.
    sender.hub.call_repeatedly(LOOK_SECONDS, sender.pool.maintain_pool)
    queues = [queue.name for queue in sender.app.amqp.queues.consume_from.values()]
    _keeper = Keeper(settings, sender.hostname, queues, device_name())
    _keeper.start()


@signals.worker_shutting_down.connect
def _shutting_down(**_: Any) -> None:
    """The parent was told to stop, and takes no more messages: the process of the job is to hand it back."""
    from billiard import active_children

    for child in active_children():
        if child.pid:
            os.kill(child.pid, HAND_BACK)
    threading.Thread(target=_insist, name="insist", daemon=True).start()


def _insist() -> None:
    """Once the hand-back has had its time: cancel what still runs."""
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGQUIT)


@signals.worker_shutdown.connect
def _shut_down(**_: Any) -> None:
    if _keeper is not None:
        _keeper.stop()


@signals.worker_process_init.connect
def _job_process(**_: Any) -> None:
    """In the process that will do the next job."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no memory with tokens in it on the disk
    signal.signal(HAND_BACK, lambda *_: STOPPING.set())
    import_module("worker.run")  # while nobody waits for it


def device_name() -> str:
    """The graphics cards of this machine by name, ``cpu`` without any. Loads no driver."""
    cards = Path("/proc/driver/nvidia/gpus")
    names = []
    for about in sorted(cards.glob("*/information")) if cards.is_dir() else ():
        found = [line.partition(":")[2].strip() for line in about.read_text().splitlines() if line.startswith("Model")]
        names += found
    return ", ".join(names) or "cpu"


def main(queues: str, name: str) -> int:
    """Run a worker in this process until it is told to stop."""
    arguments = ["worker", "-Q", queues, "-n", f"{name}@%h", "--without-gossip", "--without-mingle", "-l", "INFO"]
    try:
        celery.worker_main(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    sys.stdout.flush()
    return 0
