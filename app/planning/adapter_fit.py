"""Putting an adapter on a model: which tensors it changes and how, from headers alone.

What counts is what was trained. So an adapter on one of two tied matrices (embedding and head) changes that one only,
and the result is untied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from app.planning.adapted import AdaptedTensor, LowRank
from app.planning.adapter_config import AdapterSettings, read_settings
from app.planning.adapter_names import Factors, Names, Sorted, sort_tensors
from app.planning.adapter_parameters import Parameters, size
from app.planning.facts import MERGEABLE, ModelFacts, TensorFacts
from app.planning.module_names import EMBEDDINGS, HEAD, outside_layers
from app.planning.parents import says_untied, token_embedding
from app.planning.strict_json import short
from app.recipe.findings import Finding, Refused

HEAD_NAME = "lm_head.weight"
"""What a head is called that stood tied to the embedding before."""
_HEADS = ("lm_head", "embed_out", "proj_out")
_OTHER_BASE = "Put it on the model it was made for; its adapter_config.json says which."


@dataclass(frozen=True)
class Fitted:
    """The tensors that an adapter changes or brings, by the model's names. ``untied``: embedding and head were one
    matrix and are two now."""

    tensors: Mapping[str, AdaptedTensor]
    untied: bool


def fit(model: ModelFacts, adapter: ModelFacts) -> Fitted:
    """Raises Refused with everything that does not fit."""
    fitting = _Fitting(model, adapter, read_settings(adapter), sort_tensors(adapter.tensors.values()))
    tensors = fitting.tensors()
    if fitting.findings:
        raise Refused(_one_of_each(fitting.findings))
    return Fitted(tensors, fitting.untied)


@dataclass
class _Fitting:
    """One adapter being fitted to one model."""

    model: ModelFacts
    adapter: ModelFacts
    settings: AdapterSettings
    parts: Sorted
    findings: list[Finding] = field(default_factory=list)
    untied: bool = False

    def tensors(self) -> dict[str, AdaptedTensor]:
        """The tensors that change, by name. What does not fit is in ``findings``."""
        self._check_readable()
        made: dict[str, AdaptedTensor] = {}
        missing: list[str] = []
        names = Names(self.model.tensors)
        tied = self._tied()
        transposed = self._transposed(names)
        if tied is not None and self.settings.keeps_tie:
            self.parts.whole = {name: one for name, one in self.parts.whole.items() if not _is_head(name)}
        for name, tensor in self.parts.whole.items():
            found = names.find(name)
            own = self.model.tensors.get(found) if found else None
            if own is None and not self._may_be_new(name, tied):
                missing.append(tensor.name)
            else:
                made[found or name] = self._replaced(found or name, own, tensor)
        of_parameters = self._change_parameters(made, names)
        for module, factors in self.parts.factors.items():
            if module in of_parameters:
                continue
            name = names.find(f"{module}.weight") or f"{module}.weight"
            target = made.get(name) or self.model.tensors.get(name) or (tied if _is_head(name) else None)
            if target is None:
                missing.append(f"{module}.weight")
                continue
            self._add(made, name, target, module, factors, transposed)
            if factors.bias is not None:
                self._add_bias(made, names.find(f"{module}.bias"), module, factors.bias, missing)
        self._note_missing(missing)
        return self._untie(made, tied)

    def _check_readable(self) -> None:
        parts = self.parts
        if parts.unknown:
            text = (
                f"{short(parts.unknown[0])}{_more(parts.unknown)}: not a tensor of a LoRA adapter that is known here."
            )
            self._error("adapter-unsupported", text, "Merge the adapter with the tool that made it.")
        elif not parts.factors and not parts.whole:
            self._error("adapter-empty", "It holds no tensors.", "Choose another version of it.")
        others = [one for one in self.adapter.tensors.values() if one.dtype not in MERGEABLE]
        if others:
            text = f"{short(others[0].name)} is {others[0].dtype}, which cannot be added."
            self._error("adapter-quantised", text, "Use the adapter in BF16, F16 or F32.")

    def _tied(self) -> TensorFacts | None:
        """The model's embedding when the head is the same matrix."""
        has_head = any(_is_head(name) for name in self.model.tensors)
        return None if has_head or says_untied(self.model.config) else token_embedding(self.model)

    def _transposed(self, names: Names) -> bool:
        """Whether square matrices are [inputs, outputs]: the settings say so, or matrices that are not square do."""
        if self.settings.transposed:
            return True
        for module, factors in self.parts.factors.items():
            own = self.model.tensors.get(names.find(f"{module}.weight") or "")
            if own is None or factors.embedding or factors.up is None or factors.down is None or len(own.shape) != 2:
                continue
            made = (factors.up.shape[0], prod(factors.down.shape[1:]))
            if made[0] != made[1] and made[::-1] == own.shape:
                return True
        return False

    def _may_be_new(self, name: str, tied: TensorFacts | None) -> bool:
        """Whether a tensor that the model lacks belongs to it all the same: a head of its own, or a module that the
        adapter says it saved (a classifier)."""
        if tied is not None and _is_head(name):
            return True
        module = name.rpartition(".")[0]
        return any(module == saved or module.endswith(f".{saved}") for saved in self.settings.saved)

    def _replaced(self, name: str, own: TensorFacts | None, tensor: TensorFacts) -> AdaptedTensor:
        if own is not None and own.shape != tensor.shape and not _only_rows_differ(own, tensor):
            self._misfit(tensor.name, tensor.shape, own)
        place = own or tensor
        return AdaptedTensor(
            name, place.dtype, tensor.shape, place.file, place.begin, place.end, instead=tensor,
        )  # fmt: skip

    def _add(
        self,
        made: dict[str, AdaptedTensor],
        name: str,
        target: TensorFacts,
        module: str,
        factors: Factors,
        transposed: bool,
    ) -> None:
        up, down = factors.up, factors.down
        if up is None or down is None:
            lacking = "A" if down is None else "B"
            self._error("adapter-incomplete", f"{module} lacks its lora_{lacking}.", "Choose another version of it.")
            return
        added = self._low_rank(target, module, factors, up, down, transposed)
        if added is not None:
            made[name] = _with(name, target, added)

    def _change_parameters(self, made: dict[str, AdaptedTensor], names: Names) -> set[str]:
        """The factors, by their names, that change parameters rather than linear layers."""
        if not self.settings.parameters:
            return set()
        parameters = Parameters(self.model.tensors, names, self.settings, self._error)
        modules = parameters.modules(self.parts.factors)
        for module, factors in modules.items():
            for part, added in parameters.changes(module, factors):
                name = part.tensor.name
                made[name] = _with(name, made.get(name) or part.tensor, added)
        return {name for factors in modules.values() for name in factors}

    def _low_rank(
        self, target: TensorFacts, module: str, factors: Factors, up: TensorFacts, down: TensorFacts, transposed: bool
    ) -> LowRank | None:
        """The change of one module; None, with a finding, when it does not fit."""
        rank, wanted = down.shape[0] if down.shape else 0, self.settings.rank_of(module)
        if len(up.shape) < 2 or len(down.shape) < 2 or up.shape[1] != rank or prod(up.shape[2:]) != 1 or not rank:
            text = f"The factors of {module} do not fit each other: {size(up.shape)} and {size(down.shape)}."
            self._error("adapter-shape", text, "The adapter is damaged: choose another version of it.")
            return None
        if rank != wanted:
            text = f"{module} has rank {rank}, and adapter_config.json says {wanted}."
            self._error("adapter-rank", text, "Correct r or rank_pattern: how much is added depends on it.")
            return None
        outputs = up.shape[0]
        straight = target.shape == (outputs, *down.shape[1:])
        turned = target.shape == (*down.shape[1:], outputs) and len(target.shape) == 2
        if not straight and not turned:
            self._misfit(f"{module} (lora_B × lora_A)", (outputs, *down.shape[1:]), target)
            return None
        magnitude = factors.magnitude
        if magnitude is not None and magnitude.elements != outputs:
            self._misfit(magnitude.name, magnitude.shape, target)
            return None
        turn = turned and (not straight or factors.embedding or transposed)
        return LowRank(up, self.settings.scale(module, rank), down, turn, magnitude)

    def _add_bias(
        self, made: dict[str, AdaptedTensor], name: str | None, module: str, bias: TensorFacts, missing: list[str]
    ) -> None:
        target = made.get(name or "") or self.model.tensors.get(name or "")
        if name is None or target is None:
            missing.append(f"{module}.bias")
        elif target.shape != bias.shape:
            self._misfit(bias.name, bias.shape, target)
        else:
            scale = self.settings.scale(module, self.settings.rank_of(module))
            made[name] = _with(name, target, LowRank(bias, scale))

    def _untie(self, made: dict[str, AdaptedTensor], tied: TensorFacts | None) -> dict[str, AdaptedTensor]:
        """Where embedding and head were one matrix and only one of them changes, both stand for themselves."""
        if tied is None:
            return made
        heads = [name for name in made if _is_head(name)]
        changed = made.get(tied.name)
        if heads:
            self.untied = True
        elif changed is not None and not self._tie_stays(changed, tied):
            self.untied = True
            own = AdaptedTensor(HEAD_NAME, tied.dtype, tied.shape, tied.file, tied.begin, tied.end)
            made[HEAD_NAME] = own
        return made

    def _tie_stays(self, changed: AdaptedTensor, tied: TensorFacts) -> bool:
        """Whether the head goes with the embedding: asked for, or a matrix of a new size, or one merely saved along."""
        if self.settings.keeps_tie or changed.shape != tied.shape:
            return True
        module = tied.name.rpartition(".")[0]
        saved = any(module == one or module.endswith(f".{one}") for one in self.settings.saved)
        return changed.added is None and not saved

    def _note_missing(self, missing: Sequence[str]) -> None:
        if missing:
            text = f"{short(missing[0])}{_more(missing)}: {self.model.ref} has no such tensor."
            self._error("adapter-target-missing", text, _OTHER_BASE)

    def _misfit(self, name: str, shape: tuple[int, ...], target: TensorFacts) -> None:
        text = f"{short(name)} is {size(shape)}, but {short(target.name)} of {self.model.ref} is {size(target.shape)}."
        self._error("adapter-shape", text, _OTHER_BASE)

    def _error(self, code: str, text: str, fix: str) -> None:
        self.findings.append(Finding("error", code, self.adapter.ref, text, fix))


def _with(name: str, target: TensorFacts, added: LowRank) -> AdaptedTensor:
    """A tensor of the model, or one that the adapter has brought instead, with something on top."""
    instead = target.instead if isinstance(target, AdaptedTensor) else None
    return AdaptedTensor(name, target.dtype, target.shape, target.file, target.begin, target.end, instead, added)


def _one_of_each(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The first finding of each code, with how many more there are: an adapter of another model misfits everywhere."""
    for code in dict.fromkeys(finding.code for finding in findings):
        first, *more = dict.fromkeys(finding for finding in findings if finding.code == code)
        yield replace(first, text=f"{first.text} {len(more)} more misfit likewise.") if more else first


def _is_head(name: str) -> bool:
    return name.endswith(tuple(f"{word}.weight" for word in _HEADS))


def _only_rows_differ(own: TensorFacts, other: TensorFacts) -> bool:
    """A matrix with a row for each token, of an adapter that added tokens."""
    tokens = outside_layers(own.name) in (EMBEDDINGS, HEAD)
    return tokens and len(own.shape) == len(other.shape) == 2 and own.shape[1] == other.shape[1]


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
