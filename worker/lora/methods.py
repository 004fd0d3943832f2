"""Ways to merge adapters of one base into one adapter.

``cat``, ``svd`` and ``factor_linear`` work on the factors; the others on the cores that the adapters have in their
common space (``worker.lora.products``), where they do what the methods of the same name do to whole models' deltas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from app.adapting.wanted import How
from worker.engine.dtypes import Array
from worker.lora.loaded import LoraModule
from worker.lora.products import Product, core_space, stack


@dataclass(frozen=True)
class Terms:
    """One module of every adapter that has it: the adapters' numbers, their modules and weights."""

    name: str
    numbers: tuple[int, ...]
    modules: tuple[LoraModule, ...]
    how: How

    @property
    def coefficients(self) -> list[float]:
        """Weights times scales; divided by the sum of all adapters' weights when normalised."""
        how = self.how
        total = sum(how.weights) if how.normalize else 1.0
        factor = how.factor / total
        return [how.weights[i] * factor * one.scale for i, one in zip(self.numbers, self.modules, strict=True)]

    @property
    def weights(self) -> Array:
        return np.array([self.how.weights[i] for i in self.numbers])


def merge_module(terms: Terms) -> Product:
    return METHODS[terms.how.method](terms)


def _cat(terms: Terms) -> Product:
    """ΔW = Σ wᵢ sᵢ BᵢAᵢ exactly: the factors side by side, so the ranks add."""
    ups = [c * one.up for c, one in zip(terms.coefficients, terms.modules, strict=True)]
    return stack(ups, [one.down for one in terms.modules])


def _svd(terms: Terms) -> Product:
    """The best approximation of Σ wᵢ sᵢ BᵢAᵢ of a rank (Eckart and Young): exact when the rank is large enough."""
    ups = [c * one.up for c, one in zip(terms.coefficients, terms.modules, strict=True)]
    space = core_space(ups, [one.down for one in terms.modules])
    return space.product(np.sum(space.cores, axis=0), terms.how.rank)


def _factor_linear(terms: Terms) -> Product:
    """What PEFT calls linear: A = Σ ±√(wᵢsᵢ) Aᵢ and B = Σ √(wᵢsᵢ) Bᵢ, so that BA holds cross terms BᵢAⱼ too."""
    roots = [np.sqrt(abs(c)) for c in terms.coefficients]
    signs = np.sign(terms.coefficients)
    up = sum(root * one.up for root, one in zip(roots, terms.modules, strict=True))
    down = sum(sign * root * one.down for sign, root, one in zip(signs, roots, terms.modules, strict=True))
    return Product(np.asarray(up), np.asarray(down))


def _in_core_space(combine: Callable[[Terms, Array], Array]) -> Callable[[Terms], Product]:
    """``combine`` gets the cores sᵢMᵢ [adapters, p, q] and gives one core."""

    def merge(terms: Terms) -> Product:
        space = core_space([one.scale * one.up for one in terms.modules], [one.down for one in terms.modules])
        return space.product(terms.how.factor * combine(terms, np.array(space.cores)), terms.how.rank)

    return merge


def _sum(terms: Terms, cores: Array) -> Array:
    total = sum(terms.how.weights) if terms.how.normalize else 1.0
    return np.asarray(np.tensordot(terms.weights / total, cores, 1))


def _ties(terms: Terms, cores: Array) -> Array:
    """Trim, elect a sign for each element by the weighted sum, mean of those that agree (arXiv 2306.01708)."""
    return _elect(terms, np.array([_largest(core, terms.how.density) for core in cores]))


def _dare(terms: Terms, cores: Array) -> Array:
    """Keep each element with probability ``density``, divide by it (arXiv 2311.03099)."""
    masks = [_drawn(terms, number, core.shape) for number, core in zip(terms.numbers, cores, strict=True)]
    return np.asarray(np.where(np.array(masks), cores, 0.0) / terms.how.density)


def _elect(terms: Terms, cores: Array) -> Array:
    weighted = terms.weights[:, None, None] * cores
    sign = np.where(weighted.sum(axis=0) >= 0, 1.0, -1.0)
    agreeing = weighted * sign > 0
    total = np.where(agreeing, weighted, 0.0).sum(axis=0)
    if not terms.how.normalize:
        return np.asarray(total)
    divisor = np.where(agreeing, np.abs(terms.weights)[:, None, None], 0.0).sum(axis=0)
    return np.asarray(np.divide(total, divisor, out=np.zeros_like(total), where=divisor > 0))


def _largest(core: Array, density: float) -> Array:
    """The ⌊density · n⌋ largest magnitudes, the first of equal ones; zeros elsewhere."""
    kept = np.zeros(core.size)
    chosen = np.argsort(-np.abs(core), axis=None, kind="stable")[: int(density * core.size)]
    kept[chosen] = core.reshape(-1)[chosen]
    return kept.reshape(core.shape)


def _drawn(terms: Terms, number: int, shape: tuple[int, ...]) -> Array:
    """What is kept of one adapter's core, drawn from seed, module and adapter alone."""
    key = hashlib.sha256(f"{terms.how.seed}:{number}:{terms.name}".encode()).digest()
    random = np.random.Generator(np.random.Philox(int.from_bytes(key[:16], "little")))
    return random.random(shape) < terms.how.density


METHODS: Mapping[str, Callable[[Terms], Product]] = MappingProxyType(
    {
        "cat": _cat,
        "svd": _svd,
        "factor_linear": _factor_linear,
        "linear": _in_core_space(_sum),
        "task_arithmetic": _in_core_space(_sum),
        "ties": _in_core_space(_ties),
        "dare_linear": _in_core_space(lambda terms, cores: _sum(terms, _dare(terms, cores))),
        "dare_ties": _in_core_space(lambda terms, cores: _elect(terms, _dare(terms, cores))),
    }
)
