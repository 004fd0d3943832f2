"""Every tensor of a mixture: copied from the base or an expert, or a router that is prepared before the merge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.experts.config import mixture_config
from app.experts.dense import EMBEDDING, HEAD, LAYER, NORM, Dense
from app.experts.targets import PROJECTIONS, Target
from app.experts.wanted import Expert, WantedMixture, write_mixture
from app.planning.carried import carried_files, where_it_lies
from app.planning.config_edit import told
from app.planning.facts import TORCH_TO_SAFETENSORS, ModelFacts, TensorFacts
from app.planning.header import write_header
from app.planning.parents import Parents
from app.planning.pinning import published_names
from app.planning.plan import NO_VALUES, Input, Plan, PreparedTensor, Step
from app.planning.shards import SHARD_BYTES, lay_out, write_index
from app.recipe.schema import ModelRef, Recipe, Source

RECIPE_FILE = "mergekit_moe_config.yml"
ROUTERS = ".routers-"
"""How the names of files with routers begin, in the folder of the unfinished result."""
_ROUTER_DTYPE = "F32"
_WAY = 1
"""Counts up when the same prompts would give other routers than before."""


@dataclass(frozen=True)
class Routers:
    """The routers' tensors in one file. ``header``: its beginning. ``tensors`` have a row for each expert: by layer
    those of the routers, and of the shared expert's gates, none where there is no such expert."""

    file: str
    header: bytes
    size: int
    tensors: tuple[PreparedTensor, ...]
    shared: tuple[PreparedTensor, ...]


def plan_mixture(
    wanted: WantedMixture, dense: Dense, target: Target, parents: Parents, *, shard_bytes: int = SHARD_BYTES
) -> Plan:
    """``parents``: those of ``wanted``, in its order; the base is the first. Everything was found to fit."""
    facts = dict(zip(parents.refs, parents.facts, strict=True))
    dtype = TORCH_TO_SAFETENSORS[wanted.dtype]
    repaired = mixture_config(dense, target, len(wanted.experts), wanted.experts_per_token, dtype)
    carried = carried_files(0, parents.facts, None)
    recipe = as_recipe(wanted)
    text = write_mixture(published(wanted, facts))
    steps = tuple(_Maker(wanted, dense, target, parents, dtype).steps())
    shards = lay_out(steps, shard_bytes, {"format": "pt", "weightloom": text})
    config = json.dumps(repaired.config, indent=2) + "\n"
    texts = {**carried.texts, "config.json": config, RECIPE_FILE: text, **write_index(shards)}
    corrected = told(repaired.changes)
    findings = (*([corrected] if corrected else []), *repaired.findings, *carried.findings)
    carries = tuple(where_it_lies(one, parents) for one in carried.carries)
    return Plan(
        recipe, parents.with_adapters, shards, carries, MappingProxyType(texts), wanted.seed, findings,
        adapters=parents.adapters, recipe_file=RECIPE_FILE,
    )  # fmt: skip


def as_recipe(wanted: WantedMixture) -> Recipe:
    """A recipe with the same models: what a plan and its readers know models by."""
    models = tuple(Source(one) for one in wanted.parents())
    return Recipe("passthrough", base_model=wanted.base, models=models, dtype=wanted.dtype)


def published(wanted: WantedMixture, facts: Mapping[ModelRef, ModelFacts]) -> WantedMixture:
    """The same with Hub models at their commits and no paths of this machine."""
    return with_names(wanted, published_names(as_recipe(wanted), facts))


def with_names(wanted: WantedMixture, names: Mapping[ModelRef, ModelRef]) -> WantedMixture:
    def renamed(experts: Sequence[Expert]) -> tuple[Expert, ...]:
        return tuple(replace(one, source=names[one.source]) for one in experts)

    return replace(
        wanted, base=names[wanted.base], experts=renamed(wanted.experts), shared=renamed(wanted.shared)
    )  # fmt: skip


def lay_out_routers(wanted: WantedMixture, dense: Dense, target: Target) -> Routers:
    """Where each router lies in the file that is made before the merge. The file's name tells what is in it."""
    count = len(wanted.experts)
    names = [LAYER.format(layer) + target.router for layer in range(dense.layers)]
    gates = [LAYER.format(layer) + target.shared_gate for layer in range(dense.layers)] if target.shared_gate else []
    shapes = [*((name, (count, dense.hidden)) for name in names), *((name, (1, dense.hidden)) for name in gates)]
    header, offsets = write_header([(name, _ROUTER_DTYPE, shape) for name, shape in shapes], {})
    file = f"{ROUTERS}{_digest(wanted, dense)}.safetensors"
    tensors = tuple(
        PreparedTensor(name, _ROUTER_DTYPE, shape, file, begin, begin + 4 * shape[0] * shape[1])
        for (name, shape), begin in zip(shapes, offsets, strict=True)
    )
    return Routers(file, header, tensors[-1].end, tensors[: dense.layers], tensors[dense.layers :])


def _digest(wanted: WantedMixture, dense: Dense) -> str:
    """Of all that decides the routers."""
    prompts = [(one.positive, one.negative) for one in wanted.everyone]
    content = [(file.name, file.size, file.sha256, file.oid) for file in dense.facts.files]
    told = (_WAY, wanted.gate_mode, wanted.seed, prompts, dense.facts.ref, dense.facts.commit, content)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


class _Maker:
    """Makes the steps of one plan, in the order a model runs."""

    def __init__(self, wanted: WantedMixture, dense: Dense, target: Target, parents: Parents, dtype: str) -> None:
        self._wanted, self._dense, self._target, self._dtype = wanted, dense, target, dtype
        self._parents = parents
        self._routers = lay_out_routers(wanted, dense, target)

    def steps(self) -> Iterator[Step]:
        tensors = self._dense.facts.tensors
        yield self._copied(EMBEDDING, 0, tensors[EMBEDDING], None)
        for layer in range(self._dense.layers):
            yield from self._layer(layer)
        yield self._copied(NORM, 0, tensors[NORM], None)
        if HEAD in tensors:
            yield self._copied(HEAD, 0, tensors[HEAD], None)

    def _layer(self, layer: int) -> Iterator[Step]:
        prefix, target = LAYER.format(layer), self._target
        for suffix, tensor in self._dense.of_layer(layer):
            yield self._copied(prefix + suffix, 0, tensor, layer)
        yield self._copied(prefix + target.router, 0, self._routers.tensors[layer], layer)
        for number, expert in enumerate(self._wanted.experts):
            for projection in PROJECTIONS:
                yield self._of_expert(prefix + target.experts[projection].format(number), expert, projection, layer)
        if target.shared is not None and target.shared_gate is not None:
            for projection in PROJECTIONS:
                yield self._of_expert(prefix + target.shared[projection], self._wanted.shared[0], projection, layer)
            yield self._copied(prefix + target.shared_gate, 0, self._routers.shared[layer], layer)

    def _of_expert(self, name: str, expert: Expert, projection: str, layer: int) -> Step:
        parent = self._parents.index(expert.source)
        tensor = self._parents.facts[parent].tensors[f"{LAYER.format(layer)}mlp.{projection}.weight"]
        scale = expert.residual if projection == "down_proj" else None
        return self._copied(name, parent, tensor, layer, scale)

    def _copied(
        self, name: str, parent: int, tensor: TensorFacts, layer: int | None, scale: float | None = None
    ) -> Step:
        scaled = scale is not None and scale != 1.0
        method = "copy" if tensor.plain and tensor.dtype == self._dtype and not scaled else "passthrough"
        values = MappingProxyType({"scale": float(scale)}) if scaled and scale is not None else NO_VALUES
        return Step(name, self._dtype, tensor.shape, method, (Input(parent, tensor, values),), layer=layer)
