"""LoRA on parameters that are no linear layer's weight (PEFT's ``target_parameters``): above all fused experts.

The file names the factors after the module that holds the parameter: ``...mlp.experts.lora_A.weight``. Of several
parameters in one module the next are called ``...mlp.experts.base_layer.lora_A.weight`` and so on, so only
the factors' sizes tell which parameter they belong to. What is one parameter in memory, ``experts.gate_up_proj``
[experts, outputs, inputs], may be a matrix for each expert in the checkpoint: ``experts.0.gate_proj.weight``.

Format: PEFT's ``ParamWrapper``; what belongs together in fused experts: Transformers' checkpoint conversions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.planning.adapted import LowRank
from app.planning.adapter_config import AdapterSettings
from app.planning.adapter_names import Factors, Names
from app.planning.facts import DTYPE_BYTES, TensorFacts
from app.planning.ledger import listed
from app.planning.strict_json import short

_WRAPPED = re.compile(r"(\.base_layer)+$")
_SPLIT: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "gate_up_proj": (("gate_proj", "up_proj"), ("w1", "w3"), ("fc1", "fc3")),
    "up_proj": (("up_proj",),),
    "down_proj": (("down_proj",), ("w2",), ("fc2",)),
}
"""Names of an expert's matrices that one parameter holds, one below the other."""
_OTHER_HOLDERS = (("mlp.experts", "block_sparse_moe.experts"),)
"""Modules in memory, and what checkpoints may call them."""
_OTHER_BASE = "Put it on the model it was made for; its adapter_config.json says which."
_OTHER_VERSION = "Choose another version of it."
_USE_MERGED = "Merge the adapter into its base with the tool that made it, and use the merged model."


def parameter_keys(name: str, parameters: Sequence[str]) -> Iterator[str]:
    """The last parts of the parameters that factors called ``name`` may belong to; ``parameters`` are the entries of
    ``target_parameters``."""
    module = _WRAPPED.sub("", name)
    for entry in dict.fromkeys(parameters):
        holder, _, key = entry.rpartition(".")
        if not holder or module == holder or module.endswith(f".{holder}"):
            yield key


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of the model: all of a parameter, or of expert ``expert`` the rows from ``row`` on."""

    tensor: TensorFacts
    expert: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """``name`` as the adapter has it; ``shape`` as it is in memory, two or three dimensions."""

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def experts(self) -> int:
        """0 for a single matrix."""
        return self.shape[0] if len(self.shape) == 3 else 0

    @property
    def whole(self) -> bool:
        return self.parts[0].tensor.shape == self.shape

    def turns(self, up: TensorFacts, down: TensorFacts) -> tuple[bool, ...]:
        """The ways factors fit: straight on [outputs, inputs], turned on [inputs, outputs]; both on a square one."""
        outputs, inputs = self.shape[-2:]
        if len(up.shape) != 2 or len(down.shape) != 2 or up.shape[1] != down.shape[0]:
            return ()
        if not down.shape[0] or down.shape[0] % max(1, self.experts):
            return ()
        made = (up.shape[0], down.shape[1])
        ways = [False] if made == (outputs, inputs) else []
        return (*ways, True) if self.experts and self.whole and made == (inputs, outputs) else tuple(ways)

    def changes(self, up: TensorFacts, down: TensorFacts, scale: float, turned: bool) -> Iterator[Change]:
        for part in self.parts:
            mine = up if self.whole else _rows(up, part.row, part.tensor.shape[0])
            yield part, LowRank(mine, scale, down, turned, experts=self.experts, expert=part.expert)


Tell = Callable[[str, str, str], None]
"""Takes what is wrong: code, text and fix of a finding."""
Change = tuple[Part, LowRank]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a model that an adapter names, found by the modules of its factors."""

    tensors: Mapping[str, TensorFacts]
    names: Names
    settings: AdapterSettings
    tell: Tell

    def modules(self, factors: Mapping[str, Factors]) -> dict[str, dict[str, Factors]]:
        """The modules whose parameters are changed -> their factors, by the names these have in the file."""
        found: dict[str, dict[str, Factors]] = {}
        for name, one in factors.items():
            module = _WRAPPED.sub("", name)
            if any(self._keys(module)):
                found.setdefault(module, {})[name] = one
        return found

    def changes(self, module: str, factors: Mapping[str, Factors]) -> Iterator[Change]:
        """What a module's factors change. Whatever does not fit is told."""
        parameters = [*self._parameters(module)]
        matched: list[tuple[Parameter, TensorFacts, TensorFacts, tuple[bool, ...]]] = []
        for name, one in factors.items():
            if one.up is None or one.down is None or one.bias is not None or one.magnitude is not None:
                self.tell("adapter-unsupported", f"{name} has other tensors than lora_A and lora_B.", _OTHER_VERSION)
                continue
            fits = [(parameter, ways) for parameter in parameters if (ways := parameter.turns(one.up, one.down))]
            if len(fits) == 1:
                matched.append((fits[0][0], one.up, one.down, fits[0][1]))
            elif fits:
                named = " and ".join(short(parameter.name) for parameter, _ in fits)
                self.tell("adapter-unsupported", f"{name} may belong to {named}: they are of one size.", _USE_MERGED)
            else:
                self._misfit(name, one.up, one.down, parameters)
        for parameter, up, down, ways in matched:
            yield from self._of_one(module, parameter, up, down, ways, [ways for *_, ways in matched])

    def _of_one(
        self, module: str, parameter: Parameter, up: TensorFacts, down: TensorFacts, ways: tuple[bool, ...],
        others: Sequence[tuple[bool, ...]],
    ) -> Iterator[Change]:  # fmt: skip
        rank, wanted = down.shape[0] // max(1, parameter.experts), self.settings.rank_of(parameter.name)
        if rank != wanted:
            text = f"{short(parameter.name)} has rank {rank}, and adapter_config.json says {wanted}."
            self.tell("adapter-rank", text, "Correct r or rank_pattern: how much is added depends on it.")
            return
        turned = ways[0] if len(ways) == 1 else self._turned(module, others)
        if turned is None:
            text = f"{short(parameter.name)} is square, and nothing tells inputs from outputs."
            self.tell("adapter-unsupported", text, _USE_MERGED)
            return
        yield from parameter.changes(up, down, self.settings.scale(parameter.name, rank), turned)

    def _misfit(self, name: str, up: TensorFacts, down: TensorFacts, parameters: Sequence[Parameter]) -> None:
        if not parameters:
            text = f"{short(name)}: the model has none of the parameters {listed(list(self.settings.parameters))}."
            self.tell("adapter-target-missing", text, _OTHER_BASE)
            return
        sizes = listed([f"{short(one.name)} {size(one.shape)}" for one in parameters])
        text = f"The factors {size(up.shape)} and {size(down.shape)} of {short(name)} do not fit {sizes}."
        self.tell("adapter-shape", text, _OTHER_BASE)

    def _parameters(self, module: str) -> Iterator[Parameter]:
        """Those of a module that the adapter names and the model has."""
        for key in self._keys(module):
            found = self._whole(module, key) or self._of_experts(module, key)
            if found is not None:
                yield found

    def _turned(self, module: str, fits: Sequence[tuple[bool, ...]]) -> bool | None:
        """Whether the module's square matrices are [inputs, outputs], told by those that are not square: by the ways
        in which factors ``fits``, else by gate, up and down belonging together. None when nothing tells."""
        told = {ways[0] for ways in fits if len(ways) == 1}
        if len(told) == 1:
            return told.pop()
        up, down = (self.tensors.get(self.names.find(f"{module}.{key}") or "") for key in ("gate_up_proj", "down_proj"))
        if up is None or down is None or len(up.shape) != 3 or len(down.shape) != 3:
            return None
        straight = up.shape[2] == down.shape[1] and up.shape[1] == 2 * down.shape[2]
        turned = up.shape[1] == down.shape[2] and up.shape[2] == 2 * down.shape[1]
        return turned if straight != turned else None

    def _keys(self, module: str) -> Iterator[str]:
        return parameter_keys(module, self.settings.parameters)

    def _whole(self, module: str, key: str) -> Parameter | None:
        tensor = self.tensors.get(self.names.find(f"{module}.{key}") or "")
        if tensor is None or len(tensor.shape) not in (2, 3):
            return None
        return Parameter(f"{module}.{key}", tensor.shape, (Part(tensor),))

    def _of_experts(self, module: str, key: str) -> Parameter | None:
        """A parameter that the checkpoint has as matrices of single experts, all of one size."""
        for holder in (module, *(module.replace(*other) for other in _OTHER_HOLDERS if other[0] in module)):
            for pieces in _SPLIT.get(key, ()):
                experts = list(self._each_expert(holder, pieces))
                shapes = {tuple(tensor.shape for tensor in one) for one in experts}
                if len(shapes) == 1 and {len(shape) for shape in next(iter(shapes))} == {2}:
                    return _fused(f"{module}.{key}", experts)
        return None

    def _each_expert(self, holder: str, pieces: Sequence[str]) -> Iterator[list[TensorFacts]]:
        first = self.names.find(f"{holder}.0.{pieces[0]}.weight")
        if first is None:
            return
        place = first.removesuffix(f".0.{pieces[0]}.weight")
        expert = 0
        while all(f"{place}.{expert}.{piece}.weight" in self.tensors for piece in pieces):
            yield [self.tensors[f"{place}.{expert}.{piece}.weight"] for piece in pieces]
            expert += 1


def _fused(name: str, experts: Sequence[Sequence[TensorFacts]]) -> Parameter | None:
    columns = {tensor.shape[1] for tensor in experts[0]}
    if len(columns) != 1:
        return None
    starts = [sum(one.shape[0] for one in experts[0][:piece]) for piece in range(len(experts[0]) + 1)]
    parts = tuple(
        Part(tensor, expert, row)
        for expert, tensors in enumerate(experts)
        for tensor, row in zip(tensors, starts, strict=False)
    )
    return Parameter(name, (len(experts), starts[-1], columns.pop()), parts)


def _rows(tensor: TensorFacts, first: int, count: int) -> TensorFacts:
    """Some rows of a matrix, as a tensor of their own."""
    width = tensor.shape[1] * DTYPE_BYTES[tensor.dtype]
    begin = tensor.begin + first * width
    return replace(tensor, shape=(count, tensor.shape[1]), begin=begin, end=begin + count * width)


def size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) if shape else "a single number"
