"""A plan for drawing where nobody may ask for headers: the recipe over made-up models of the usual shape.

How much of each parent ends up where follows from the recipe alone, but for the number of layers and the names of the
modules. A shared link is drawn with the names that most decoders use; the builder then draws the real models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from app.planning.facts import FileFacts, ModelFacts, TensorFacts
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.recipe.findings import Refused
from app.recipe.schema import ModelRef, Recipe, Slice, Source

USUAL_LAYERS = 32
DEEPEST = 512
"""Layers of the deepest model that is drawn so."""
_MOST_PARENTS = 26
_MOST_ROWS = 3000
"""Layers times parents: what is drawn in well under a second."""
_MOST_LOOKS = 1_000_000
"""Tensors times rules: how often a filter is held against a name."""
_WIDTH = 4
_FILE = "model.safetensors"
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")
_TENSORS = len((*_ATTENTION, *_MLP, *_NORMS))


def nominal_plan(recipe: Recipe, layers: int | None = None) -> Plan | None:
    """The plan of a recipe over models of ``layers`` layers, where its slices do not say how many there are.

    None for what cannot be drawn so: parts of a model under names of their own, too many layers or parents, or a recipe
    that lacks something. The plan's parents are named as the recipe names them.
    """
    parents = recipe.parents()
    ends = [source.layers[1] for one in recipe.documents for source in one.sources() if source.layers]
    deep = max(ends) if ends else min(layers or USUAL_LAYERS, DEEPEST)
    deepest = max(deep, *(_stacked(one) for one in recipe.documents))
    if any(one.modules for one in recipe.documents) or not 1 <= len(parents) <= _MOST_PARENTS or deepest > DEEPEST:
        return None
    rows = deepest * len(parents) * len(recipe.documents)
    if rows > _MOST_ROWS or rows * _TENSORS * _rules(recipe) > _MOST_LOOKS:
        return None
    names = {model: ModelRef(f"parent/{index}") for index, model in enumerate(parents)}
    facts = {names[model]: _facts(str(model), deep) for model in parents}
    try:
        return make_plan(_plain(recipe, names), facts)
    except Refused:
        return None


def _stacked(recipe: Recipe) -> int:
    """How many layers the slices of one document make."""
    ranges = [piece.sources[0].layers for piece in recipe.slices if piece.sources]
    return sum(one[1] - one[0] for one in ranges if one)


def _rules(recipe: Recipe) -> int:
    """The most rules that one tensor may have to be held against."""
    places = [one.parameters for one in recipe.documents]
    places += [piece.parameters for one in recipe.documents for piece in one.slices]
    places += [source.parameters for one in recipe.documents for source in one.sources()]
    return max(1, max(sum(len(rules) for rules in place.values()) for place in places))


def _facts(name: str, layers: int) -> ModelFacts:
    tensors, begin = {}, 0
    for tensor, shape in _shapes(layers):
        end = begin + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        tensors[tensor] = TensorFacts(tensor, "BF16", shape, _FILE, begin, end)
        begin = end
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": layers,
        "hidden_size": _WIDTH, "vocab_size": _WIDTH, "tie_word_embeddings": False,
    }  # fmt: skip
    return ModelFacts(name, config, tensors, (FileFacts(_FILE, begin),))


def _shapes(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    square = (_WIDTH, _WIDTH)
    yield "model.embed_tokens.weight", square
    for index in range(layers):
        layer = f"model.layers.{index}"
        yield from ((f"{layer}.self_attn.{name}.weight", square) for name in _ATTENTION)
        yield from ((f"{layer}.mlp.{name}.weight", square) for name in _MLP)
        yield from ((f"{layer}.{name}.weight", (_WIDTH,)) for name in _NORMS)
    yield "model.norm.weight", (_WIDTH,)
    yield "lm_head.weight", square


def _plain(recipe: Recipe, names: Mapping[ModelRef, ModelRef]) -> Recipe:
    """The recipe about the made-up models, without what has no part in the picture: adapters, vocabularies. Names of
    stages stay."""

    def named(ref: ModelRef) -> ModelRef:
        return names.get(ref, ref)

    def renamed(sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(replace(one, model=named(one.model)) for one in sources)

    slices = tuple(
        Slice(renamed(piece.sources), named(piece.base_model) if piece.base_model else None, piece.parameters)
        for piece in recipe.slices
    )
    return replace(
        recipe,
        base_model=named(recipe.base_model) if recipe.base_model else None,
        models=renamed(recipe.models),
        slices=slices,
        stages=tuple(_plain(stage, names) for stage in recipe.stages),
        tokenizer=None,
        chat_template=None,
    )
