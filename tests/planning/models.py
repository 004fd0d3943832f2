"""Facts for tests: of a folder on disk, or made up from names and shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from app.planning.facts import DTYPE_BYTES, FileFacts, ModelFacts, TensorFacts
from app.planning.header import header_length, parse_header
from app.recipe.reading import read_recipe
from app.recipe.references import parse_reference
from app.recipe.schema import ModelRef, Recipe

GOLDEN = Path(__file__).parent.parent / "golden"
Shapes = dict[str, tuple[int, ...]]


def recipe(text: str) -> Recipe:
    reading = read_recipe(text)
    assert reading.recipe is not None, reading.findings
    return reading.recipe


def folder_facts(folder: Path, ref: str, **more: Any) -> ModelFacts:
    """The facts of a model on disk."""
    tensors: dict[str, TensorFacts] = {}
    for file in sorted(folder.glob("*.safetensors")):
        raw = file.read_bytes()
        tensors |= parse_header(raw[: 8 + header_length(raw[:8], file.name, len(raw))], file.name, len(raw))
    files = tuple(FileFacts(path.name, path.stat().st_size) for path in sorted(folder.iterdir()))
    texts = {
        path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".txt", ".jinja", ".md")
    }
    return ModelFacts(ref, json.loads((folder / "config.json").read_text()), tensors, files, texts=texts, **more)


def golden_facts(made: Recipe) -> dict[ModelRef, ModelFacts]:
    return {ref: folder_facts(GOLDEN / ref.name, str(ref)) for ref in made.parents()}


def llama_shapes(layers: int = 4, hidden: int = 8, vocab: int = 32, head: bool = True) -> Shapes:
    shapes: Shapes = {"model.embed_tokens.weight": (vocab, hidden)}
    for i in range(layers):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{x}_proj.weight": (hidden, hidden) for x in "qkvo"}
        shapes |= {f"{at}.mlp.{x}_proj.weight": (2 * hidden, hidden) for x in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (hidden, 2 * hidden)
        shapes |= {f"{at}.{x}_layernorm.weight": (hidden,) for x in ("input", "post_attention")}
    shapes["model.norm.weight"] = (hidden,)
    return shapes | ({"lm_head.weight": (vocab, hidden)} if head else {})


def mixture_shapes(layers: int = 4, experts: int = 12, dense: int = 1) -> Shapes:
    """The first ``dense`` layers have no experts, as in DeepSeek's models."""
    shapes = llama_shapes(layers)
    for layer in range(dense, layers):
        at = f"model.layers.{layer}.mlp"
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(f"{at}.")}
        shapes[f"{at}.gate.weight"] = (experts, 8)
        for expert in range(experts):
            shapes |= {f"{at}.experts.{expert}.{x}_proj.weight": (16, 8) for x in ("gate", "up")}
            shapes[f"{at}.experts.{expert}.down_proj.weight"] = (8, 16)
    return shapes


def llama_config(layers: int = 4, hidden: int = 8, vocab: int = 32, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "vocab_size": vocab,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **more,
    }


def facts(
    ref: str,
    shapes: Shapes,
    config: Mapping[str, Any] | None = None,
    dtype: str | dict[str, str] = "BF16",
    texts: Mapping[str, str] | None = None,
    files: tuple[FileFacts, ...] = (),
    **more: Any,
) -> ModelFacts:
    """A model made up. ``dtype`` may name single tensors' dtypes, the others being BF16."""
    tensors = {}
    begin = 8
    for name, shape in shapes.items():
        kind = dtype if isinstance(dtype, str) else dtype.get(name, "BF16")
        end = begin + prod(shape) * DTYPE_BYTES[kind]
        tensors[name] = TensorFacts(name, kind, shape, "model.safetensors", begin, end)
        begin = end
    texts = texts or {}
    named = {file.name for file in files}
    files = (
        *files,
        *(FileFacts(name, len(text)) for name, text in texts.items() if name not in named),
        FileFacts("model.safetensors", begin),
    )
    return ModelFacts(ref, config if config is not None else llama_config(), tensors, files, texts=texts, **more)


def family(*models: ModelFacts) -> dict[ModelRef, ModelFacts]:
    return {parse_reference(one.ref): one for one in models}
