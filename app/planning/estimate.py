"""What a merge will take: bytes, memory, disk, time. Known before a byte of weights is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from app.planning.adapted import AdaptedTensor
from app.planning.facts import DTYPE_BYTES, TensorFacts
from app.planning.plan import MadeTensor, Plan, Step
from app.planning.rates import GUESSED, Rates

FIXED_SECONDS = 1.0
"""For starting and finishing, whatever the size."""
_WRITE_NS = 0.65
"""Nanoseconds for writing one element of two bytes, with two threads."""
_MODEL_THREADS = 2
_MOST_THREADS = 8
_READ_NS: Mapping[str, float] = MappingProxyType(
    {
        "copy": 0.3, "passthrough": 0.3, "linear": 0.3, "task_arithmetic": 0.3, "transfer": 0.3, "nearswap": 0.3,
        "ram": 0.3,
        "slerp": 0.7, "nuslerp": 0.7, "multislerp": 0.7, "karcher": 0.7, "model_stock": 0.7, "ramplus_tl": 0.7,
        "dare_linear": 1.0, "dare_ties": 1.0, "ties": 1.25, "breadcrumbs": 1.6, "breadcrumbs_ties": 1.6, "sce": 1.6,
        "consensus_ta": 1.0, "consensus_ties": 1.8, "arcee_fusion": 3.0, "della": 3.0, "della_linear": 3.0,
    }
)  # fmt: skip
"""Nanoseconds for reading and computing one element of one input, with two threads, as measured."""
_ONE_PASS_NS = 0.3
_DARE_UNSCALED_NS = 0.5
_LORA_NS, _LORA_RANK_NS = 0.5, 0.055
"""The same for adding a LoRA adapter to one element on a pass over it, and how much more each rank makes it: measured
with ranks 8 and 64 on every matrix of a small Llama."""
_RESERVE = 1.05

_PROCESS_BYTES = 175_000_000
"""Python, NumPy and a worker's libraries. A job of models with 135 million parameters held 147 to 160 MB at its peak,
whatever the method, the command line 87 to 108 MB; the rest is for larger models' headers. Left out: compiling a kernel
that nobody has used since the installation, which takes up to 330 MB, and some seconds, once."""
_FETCH_BYTES = 60_000_000
"""What the same jobs held besides while they fetched their parents: 20 to 55 MB of connections and pieces."""
_CHUNK_BYTES = 512_000
_MASKED = ("della", "della_linear")
_RANKED = ("ties", "consensus_ties", "breadcrumbs", "breadcrumbs_ties", "sce")
_CANDIDATES = 0.03


@dataclass(frozen=True, slots=True)
class Estimate:
    """Sizes in bytes, time in seconds. ``download_bytes``: what is needed and not on this machine yet;
    ``disk_bytes``: room that must be free; ``basis``: what the time rests on, in words."""

    parameters: int
    output_bytes: int
    download_bytes: int
    peak_memory_bytes: int
    disk_bytes: int
    seconds: float
    basis: str


def estimate(plan: Plan, *, threads: int = 2, rates: Rates = GUESSED) -> Estimate:
    """``rates``: what was measured on this machine."""
    download, method = _download_bytes(plan), plan.recipe.merge_method
    seconds = merging_seconds(plan, threads) * rates.factor(method) + download / rates.download_rate
    output = plan.output_bytes + sum(len(text.encode()) for text in plan.texts.values())
    return Estimate(
        parameters=plan.parameters,
        output_bytes=output,
        download_bytes=download,
        peak_memory_bytes=_memory(plan, threads),
        disk_bytes=round((output + plan.alignment_bytes + download) * _RESERVE),
        seconds=round(seconds, 1),
        basis=rates.basis(method, fetches=download > 0),
    )


def merging_seconds(plan: Plan, threads: int = 2) -> float:
    """By the cost model, on the machine it was measured on, with every parent there."""
    steps = [*plan.steps(), *_made_before(plan)]
    return FIXED_SECONDS + sum(_nanoseconds(step, threads) * step.alike for step in steps) * 1e-9


def _download_bytes(plan: Plan) -> int:
    missing = {
        (parent, file.name): file.size
        for parent, facts in enumerate(plan.parents)
        for file in facts.files
        if not file.present
    }
    return sum(missing.get(needed, 0) for needed in plan.files_needed)


def _nanoseconds(step: Step, threads: int) -> float:
    """Writing is bound by memory and disk; reading and computing go with the threads. What is made on the way is made
    anew for every pass over it."""
    read = _READ_NS[step.method]
    if step.method.startswith("dare") and step.parameters.get("rescale") is False:
        read = _DARE_UNSCALED_NS
    speed = min(max(threads, 1), _MOST_THREADS) / _MODEL_THREADS
    write = _WRITE_NS * DTYPE_BYTES[step.dtype] / 2
    tensors = (one.tensor for one in step.every_input)
    inside = sum(_nanoseconds(one.made_by, threads) for one in tensors if isinstance(one, MadeTensor))
    inside += sum(_adding(one.tensor) for one in step.every_input) / speed
    passes = 1 if read <= _ONE_PASS_NS else 2
    return prod(step.shape) * (write + len(step.every_input) * read / speed) + passes * inside


def _adding(tensor: TensorFacts) -> float:
    """Nanoseconds for putting an adapter on a tensor, with two threads."""
    added = tensor.added if isinstance(tensor, AdaptedTensor) else None
    return 0.0 if added is None else tensor.elements * (_LORA_NS + _LORA_RANK_NS * added.rank)


def _memory(plan: Plan, threads: int) -> int:
    most = max((len(step.every_input) for step in plan.every_step()), default=1)
    steps = [*plan.steps(), *_made_before(plan)]
    tensor = max((sum(map(_tensor_memory, step.within)) for step in steps), default=0)
    levels = max(map(_levels, steps), default=1)
    process = _PROCESS_BYTES + (_FETCH_BYTES if _download_bytes(plan) else 0)
    return process + threads * levels * (most + 1) * _CHUNK_BYTES + tensor


def _made_before(plan: Plan) -> list[Step]:
    """The steps whose results are laid out for a new vocabulary before the merge."""
    tensors = (source.tensor for one in plan.alignments for source in one.inputs)
    return [one.made_by for one in tensors if isinstance(one, MadeTensor)]


def _levels(step: Step) -> int:
    """How deep steps are nested; each level has buffers of its own."""
    inside = (_levels(one.tensor.made_by) for one in step.every_input if isinstance(one.tensor, MadeTensor))
    return 1 + max(inside, default=0)


def _tensor_memory(step: Step) -> int:
    """Bytes that grow with the tensor: one mask bit an element and input, or the candidates for a cut; and what is
    added to the inputs, in fp32."""
    elements, inputs = prod(step.shape), len(step.inputs)
    adapted = (one.tensor for one in step.every_input if isinstance(one.tensor, AdaptedTensor))
    added = sum(part.elements * 4 for tensor in adapted for part in tensor.of_adapter)
    if step.method in _MASKED:
        return added + elements * inputs // 8
    return added + (round(elements * _CANDIDATES) * 4 * inputs if step.method in _RANKED else 0)
