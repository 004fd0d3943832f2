"""Choosing a back end for a device."""

from __future__ import annotations

import logging

from app.planning.plan import Plan
from worker.engine.backend import Backend
from worker.engine.dtypes import ITEMSIZE

log = logging.getLogger(__name__)


def check_device(device: str) -> None:
    """Whether the GPU that is asked for is there, before anything is fetched for it. Raises Refused(no-gpu)."""
    if device.startswith("cuda"):
        from worker.engine.torch_backend import TorchBackend

        TorchBackend(device)


def open_backend(device: str, plan: Plan, chunk: int) -> Backend:
    """The back end for ``cpu``, ``torch:cpu`` or ``cuda[:n]``, with buffers for what ``plan`` needs.

    Without Numba, ``cpu`` is done by torch, more slowly; the log says so. Raises Refused(no-gpu).
    """
    steps = list(plan.every_step())
    rows = max((len(step.every_input) for step in steps), default=1)
    dtypes = {step.dtype for step in steps} | {one.tensor.stored for step in steps for one in step.every_input}
    itemsize = max((ITEMSIZE.get(dtype, 1) for dtype in dtypes), default=1)
    if device == "cpu":
        try:
            from worker.engine.cpu import CpuBackend
        except ImportError as error:
            log.warning("Numba cannot be used (%s): merging with torch instead, which is slower.", error)
        else:
            return CpuBackend(rows, itemsize, chunk)
    from worker.engine.torch_backend import TorchBackend

    return TorchBackend(device.removeprefix("torch:"))
