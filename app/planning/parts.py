"""The parts of a checkpoint that consists of several: encoder and decoder, vision tower and language model.

Found by tensor names alone: where the layer stacks' names part ways, each way is a part. ``model.visual.blocks`` and
``model.language_model.layers`` part below ``model``, so ``visual`` and ``language_model`` are parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.planning.facts import ModelFacts
from app.planning.layers import Structure, position
from app.planning.module_names import EMBEDDINGS, HEAD, outside_layers

WHOLE = "default"
"""What a checkpoint is called that has one part only."""
TEXT, VISION, AUDIO, LINK, ENCODER, DECODER = "text", "vision", "audio", "link", "encoder", "decoder"
_WORDS = {
    VISION: ("vis", "image"),
    AUDIO: ("audio", "speech"),
    LINK: ("project", "connector", "merger", "aligner", "adapter", "bridge"),
}
_OTHER_NAMES: Mapping[str, str] = {
    "text_decoder": TEXT, "language_model": TEXT, "text_model": TEXT, "llm": TEXT, "text": TEXT,
    "vision_tower": VISION, "vision_encoder": VISION, "vision_model": VISION, "visual": VISION, "vision": VISION,
    "audio_tower": AUDIO, "audio_encoder": AUDIO, "audio": AUDIO, "multi_modal_projector": LINK, "projector": LINK,
    "connector": LINK, "encoder": ENCODER, "decoder": DECODER, "text_encoder": ENCODER,
}  # fmt: skip
"""Names that recipes use for a part whatever the checkpoint calls it."""


def called(part: Part) -> str:
    """What recipes usually call a part: ``language_model`` for one that writes text and is only called ``model``."""
    return "language_model" if part.role == TEXT and part.name not in _OTHER_NAMES else part.name


@dataclass(frozen=True, slots=True)
class Part:
    """``names`` are its tensors. ``prefix`` is what most of their names begin with, empty for a whole checkpoint;
    ``core`` the place of its layers: that of ``model.layers.0`` is ``model``. ``role`` is one of the constants above
    or empty."""

    name: str
    prefix: str
    core: str
    role: str
    names: tuple[str, ...]

    def local(self, name: str) -> str:
        """A tensor's name seen from the layers' place, so that it is the same in every checkpoint that holds such a
        part: what follows ``core``; with a ``^`` what lies beside or above it."""
        above, below = self.core.split(".") if self.core else [], name.split(".")
        same = next((i for i, word in enumerate(above) if i >= len(below) or below[i] != word), len(above))
        return ("" if same == len(above) else "^") + ".".join(below[same:])

    def named(self, local: str) -> str | None:
        """The name a tensor gets here that this part lacks: beside the others; a head where its kind of model has it.
        None for what has no place."""
        if not local.startswith("^"):
            return f"{self.core}.{local}" if self.core else local
        if outside_layers(local[1:]) != HEAD:
            return None
        return local[1:] if self.core == self.prefix or not self.prefix else f"{self.prefix}.{local[1:]}"


@dataclass(frozen=True)
class Parts:
    """The parts of one checkpoint, by name."""

    parts: Mapping[str, Part]
    facts: ModelFacts

    @property
    def several(self) -> bool:
        return len(self.parts) > 1

    def find(self, name: str) -> Part | None:
        """The part a recipe means: by its name here, by one of the usual names, or by any beginning of tensor names.
        A checkpoint of one part is that part by any usual name."""
        role = _OTHER_NAMES.get(name)
        if not self.several:
            only = next(iter(self.parts.values()), None)
            return only if name == WHOLE or name in self.parts or role is not None else None
        by_prefix = next((part for part in self.parts.values() if part.prefix == name), None)
        found = self.parts.get(name) or by_prefix or self.in_role(role)
        return found or self._below(name)

    def in_role(self, role: str | None) -> Part | None:
        """The only part of this role; a decoder is what writes the text."""
        if role is None:
            return None
        wanted = {role, TEXT} if role == DECODER else {role, DECODER} if role == TEXT else {role}
        found = [part for part in self.parts.values() if part.role in wanted]
        return found[0] if len(found) == 1 else None

    def _below(self, prefix: str) -> Part | None:
        names = tuple(name for name in self.facts.tensors if name.startswith(f"{prefix}."))
        return Part(prefix, prefix, _core(names, prefix), _role(prefix, False, False), names) if names else None


def find_parts(facts: ModelFacts, structure: Structure) -> Parts:
    """The parts, those with layers and those beside them. Embeddings and head that stand outside all parts (a shared
    embedding, ``lm_head``) belong to the part that writes the text; without a config none is known to."""
    stacks = [prefix.split(".") for prefix in structure.stacks]
    fork = _common(stacks)
    inner = {words[len(fork)] for words in stacks if len(words) > len(fork) + 1}
    bare = any(len(words) == len(fork) + 1 for words in stacks)
    if len(stacks) < 2 or len(inner) + bare < 2:
        return Parts({WHOLE: _whole(facts)}, facts)
    children = _children(facts.tensors, fork, inner, bare)
    taken = {name for names in children.values() for name in names}
    left = [name for name in facts.tensors if name not in taken]
    text = fork[-1] if bare and fork else WHOLE if bare else _text_part(children, fork, structure, facts)
    children[text] = [*children.get(text, ()), *(left if bare else filter(_is_of_text, left))]
    encoder_decoder = facts.config.get("is_encoder_decoder") is True
    found = {}
    for child, names in children.items():
        prefix = ".".join(fork if bare and child == text else [*fork, child])
        role = _role(child, child == text and bool(facts.config), encoder_decoder)
        found[child] = Part(child, prefix, _core(names, prefix), role, tuple(names))
    return Parts(found, facts)


def _whole(facts: ModelFacts) -> Part:
    names = tuple(facts.tensors)
    return Part(WHOLE, "", _core(names, ""), TEXT, names)


def _common(paths: Sequence[Sequence[str]]) -> list[str]:
    """The words all paths begin with."""
    shared: list[str] = []
    for words in zip(*paths, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return shared


def _children(names: Iterable[str], fork: Sequence[str], inner: set[str], bare: bool) -> dict[str, list[str]]:
    """Word below the fork -> tensors, for every part: those with layers of their own, and modules beside them.
    ``bare``: a stack stands at the fork itself, and what is beside it belongs to it, but for links."""
    found: dict[str, list[str]] = {}
    for name in names:
        words = name.split(".")
        if words[: len(fork)] != list(fork) or len(words) < len(fork) + 2:
            continue
        child = words[len(fork)]
        beside = _role(child, False, False) == LINK if bare else outside_layers(name) not in (EMBEDDINGS, HEAD)
        if child in inner or beside:
            found.setdefault(child, []).append(name)
    return found


def _is_of_text(name: str) -> bool:
    return position(name).layer is None and outside_layers(name) in (EMBEDDINGS, HEAD)


def _text_part(
    children: Mapping[str, Sequence[str]], fork: Sequence[str], structure: Structure, facts: ModelFacts
) -> str:
    if facts.config.get("is_encoder_decoder") is True:
        decoder = next((child for child in children if "decoder" in child), None)
        if decoder is not None:
            return decoder
    main = (structure.main or "").split(".")
    return main[len(fork)] if len(main) > len(fork) else next(iter(children), "")


def _role(name: str, is_text: bool, encoder_decoder: bool) -> str:
    said = next((role for role, words in _WORDS.items() if any(word in name.lower() for word in words)), "")
    if encoder_decoder and not said:
        return DECODER if "decoder" in name else ENCODER if "encoder" in name else ""
    return TEXT if is_text else said


def _core(names: Iterable[str], prefix: str) -> str:
    """Where the part's layers stand: the place of its longest run of numbered names."""
    count: dict[str, int] = {}
    for name in names:
        place = position(name)
        if place.layer is not None:
            count[place.prefix] = count.get(place.prefix, 0) + 1
    return max(count, key=lambda stack: count[stack]).rpartition(".")[0] if count else prefix
