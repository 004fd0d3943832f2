"""Keys that mean nothing where they stand: which one was meant, or what to do instead.

mergekit passes over all of them in silence, so published recipes are full of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from app.recipe.catalogue import METHODS
from app.recipe.findings import Finding, did_you_mean

_PARAMETERS = frozenset(parameter.name for method in METHODS.values() for parameter in method.parameters)
_WITHOUT_EFFECT: Mapping[str, str] = {
    "residual_weight": 'Remove it. How much of a source goes in is its "weight", under parameters.',
    "input_model_parameters": 'Remove it. What belongs to one model goes into the "parameters" of its entry.',
    "override_architecture": "Remove it. The architecture is read from the checkpoint itself.",
}
"""Keys that mergekit's own files or descriptions know and that have no effect anywhere."""
_OF_CARDS = frozenset({
    "datasets", "language", "library_name", "license", "license_link", "license_name", "metrics", "model_name",
    "model_type", "pipeline_tag", "tags",
})  # fmt: skip
"""Keys of a model card's head that get copied along: no typos of ours, however alike."""


def check_keys(raw: Iterable[str], known: tuple[str, ...], where: str) -> Iterator[Finding]:
    """A finding for every key that is not ``known`` at this place of the recipe: an error when a known one is near,
    since a typo changes the result; a warning when the key does nothing."""
    for key in raw:
        if key in known:
            continue
        place = f"{where}.{key}" if where else key
        guess = "" if key in _OF_CARDS else did_you_mean(key, known)
        if key in _WITHOUT_EFFECT:
            yield Finding("warning", "no-effect", place, f'"{key}" has no effect.', _WITHOUT_EFFECT[key])
        elif key in _PARAMETERS and "parameters" in known:
            text = f'"{key}" has no effect here: it is a parameter.'
            yield Finding("warning", "misplaced-parameter", place, text, f'Write it under "parameters:", as {key}: ….')
        elif guess:
            yield Finding("error", "unknown-key", place, f'There is no key "{key}" here.', guess)
        else:
            text = f'"{key}" is not a key of a recipe and has no effect.'
            yield Finding("warning", "unknown-key", place, text, f"Known: {', '.join(known)}.")
