"""What somebody wants made of adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.adapting.methods import METHODS
from app.recipe.findings import did_you_mean, refuse
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef

DTYPES = ("float32", "bfloat16", "float16")
DENSITY = 0.5
LARGEST_RANK = 65_536
MOST_ADAPTERS = 26
MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class How:
    """``rank`` None: as large as the exact result needs. ``factor`` is what task arithmetic calls λ."""

    method: str
    weights: tuple[float, ...]
    rank: int | None = None
    density: float = DENSITY
    factor: float = 1.0
    normalize: bool = False
    seed: int = 0


@dataclass(frozen=True)
class WantedMerge:
    """Adapters to be made into one, with a weight each; ``dtype``: the result's number format."""

    adapters: tuple[ModelRef, ...]
    how: How
    dtype: str = "float32"

    def pinned(self, adapters: Sequence[ModelRef]) -> WantedMerge:
        return replace(self, adapters=tuple(adapters))

    def as_params(self) -> dict[str, Any]:
        """For the job's row."""
        how = {**asdict(self.how), "weights": list(self.how.weights)}
        return {"adapters": [str(one) for one in self.adapters], **how, "dtype": self.dtype}

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> WantedMerge:
        return read_merge(**params)


def read_merge(
    adapters: Sequence[str], *, weights: Sequence[float] | None = None, method: str = "svd", rank: int | None = None,
    density: float = DENSITY, factor: float = 1.0, normalize: bool | None = None, seed: int = 0,
    dtype: str = "float32",
) -> WantedMerge:  # fmt: skip
    """``weights`` None: 1 for each; ``normalize`` None: as the method does by itself. Raises Refused."""
    if not 1 <= len(adapters) <= MOST_ADAPTERS:
        text = "There is no adapter yet." if not adapters else f"More than {MOST_ADAPTERS} adapters are not taken."
        raise refuse("wrong-number-of-adapters", "adapters", text, "Name two or more LoRA adapters of one base.")
    known = METHODS.get(method)
    if known is None:
        text = f'There is no way to merge adapters called "{method[:40]}".'
        raise refuse("unknown-method", "method", text, did_you_mean(method, METHODS) or f"There are {_all(METHODS)}.")
    given = tuple(weights) if weights is not None else (1.0,) * len(adapters)
    if len(given) != len(adapters):
        text = f"There are {len(given)} weights for {len(adapters)} adapters."
        raise refuse("wrong-number-of-weights", "weights", text, "Give one for each adapter, in their order.")
    if not all(math.isfinite(one) for one in (*given, factor)):
        raise refuse("not-a-number", "weights", "Weights and factor are finite numbers.", "1 is usual.")
    check_numbers(rank, seed, dtype)
    if not 0 < density <= 1:
        text = "The density lies above 0 and is at most 1."
        raise refuse("bad-density", "density", text, "0.5 keeps half of each adapter's changes.")
    divides = known.divides if normalize is None else normalize
    how = How(method, given, rank, density, factor, divides, seed)
    return WantedMerge(tuple(_adapter(one, number) for number, one in enumerate(adapters)), how, dtype)


def check_numbers(rank: int | None, seed: int, dtype: str) -> None:
    """Raises Refused for a rank, a seed or a number format that cannot be."""
    if rank is not None and not 1 <= rank <= LARGEST_RANK:
        raise refuse("bad-rank", "rank", f"The rank is a whole number from 1 to {LARGEST_RANK:,}.", "16 is usual.")
    if not 0 <= seed <= MOST_SEED:
        raise refuse("bad-seed", "seed", f"The seed is a whole number from 0 to {MOST_SEED}.", "0 is usual.")
    if dtype not in DTYPES:
        text = f'"{dtype[:40]}" is no number format of an adapter.'
        raise refuse("bad-dtype", "dtype", text, did_you_mean(dtype, DTYPES) or f"There are {_all(DTYPES)}.")


def _adapter(text: str, number: int) -> ModelRef:
    ref = parse_reference(text, f"adapters[{number}]")
    if ref.adapter is not None:
        text = f"{ref} is a model with an adapter on it."
        raise refuse("not-an-adapter", f"adapters[{number}]", text, "Name the adapter alone, what stands after the +.")
    return ref


def _all(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)


@dataclass(frozen=True)
class Wish:
    """How an adapter is extracted. ``rank`` at most, and no more of it than ``max_error`` (share of a change's length
    that may be missing) asks for. ``modules``: last parts of the names of those that get LoRA; empty: all. ``whole``:
    what else changed is saved along."""

    rank: int
    max_error: float | None = None
    seed: int = 0
    dtype: str = "float32"
    modules: tuple[str, ...] = ()
    whole: bool = True


@dataclass(frozen=True)
class WantedExtract:
    """What ``tuned`` learnt beyond ``base``, as an adapter."""

    tuned: ModelRef
    base: ModelRef
    wish: Wish

    def as_params(self) -> dict[str, Any]:
        """For the job's row."""
        wish = {**asdict(self.wish), "modules": list(self.wish.modules)}
        return {"tuned": str(self.tuned), "base": str(self.base), **wish}

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> WantedExtract:
        return read_extract(**params)


def read_extract(
    tuned: str, base: str, *, rank: int, max_error: float | None = None, seed: int = 0, dtype: str = "float32",
    modules: Sequence[str] = (), whole: bool = True,
) -> WantedExtract:  # fmt: skip
    """Raises Refused."""
    for name, where in ((tuned, "tuned"), (base, "base")):
        if not name.strip():
            text = "An extraction needs a fine-tune and the model that it was made from."
            raise refuse("too-few-models", where, text, "Name both.")
    check_numbers(rank, seed, dtype)
    if max_error is not None and not 0 < max_error < 1:
        text = "What may be missing of a change lies between 0 and 1."
        raise refuse("bad-error", "max_error", text, "0.1 leaves out a tenth at most.")
    refs = parse_reference(tuned, "tuned"), parse_reference(base, "base")
    if refs[0] == refs[1]:
        text = f"{refs[0]} is both the fine-tune and its base."
        raise refuse("model-twice", "base", text, "Name the model that the fine-tune was made from.")
    named = tuple(dict.fromkeys(one.strip() for one in modules if one.strip()))
    return WantedExtract(*refs, Wish(rank, max_error, seed, dtype, named, whole))
