"""What a real model is asked: how well it reads held-out text, and a question. It is loaded as a user would load it."""

from __future__ import annotations

import json
import math
import sysconfig
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.support.real_models import ADAPTERS, RealModels

WINDOWS = 4
"""Runs of 256 tokens. With 40 the perplexities are those of tests/adapters/README.md."""


def perplexities(folder: Path) -> dict[str, float]:
    """By the kind of held-out text."""
    model = load(folder)
    texts = {"python": held_out_python(), "scripture": held_out_scripture()}
    return {kind: perplexity(model, text, WINDOWS) for kind, text in texts.items()}


def measure(models: RealModels) -> dict[str, dict[str, float]]:
    """``perplexities`` of the three models, by name. It is left beside the models: it takes half a minute."""
    with _alone(models):
        found = {name: perplexities(getattr(models, name)) for name in ("base", "python", "scripture")}
        _kept(models).write_text(json.dumps(found), encoding="utf-8")
    return found


def known(models: RealModels) -> dict[str, dict[str, float]]:
    """What was measured once, by this process or another; one that measures now is waited for."""
    with _alone(models):
        if not _kept(models).exists():
            measure(models)
    found: dict[str, dict[str, float]] = json.loads(_kept(models).read_text(encoding="utf-8"))
    return found


def _alone(models: RealModels) -> FileLock:
    return FileLock(_kept(models).with_suffix(".lock"), is_singleton=True)  # known holds it while it measures


def _kept(models: RealModels) -> Path:
    return models.base.parent.with_suffix(".perplexities.json")


def held_out_scripture() -> str:
    return (ADAPTERS / "scripture-heldout.txt").read_text(encoding="utf-8")


def held_out_python() -> str:
    """The standard library's modules from w to z, which the ``python`` adapter has not seen."""
    modules = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[w-z]*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in modules)


def perplexity(model: Any, text: str, windows: int, length: int = 256) -> float:
    """exp of the mean negative log-likelihood a token, over the first ``windows`` runs of ``length`` tokens, in fp32.

    ``model`` is a folder, or a transformers model that was loaded from one.
    """
    import torch

    model = load(model) if isinstance(model, Path) else model
    ids = tokenizer_of(model)(text, return_tensors="pt", verbose=False).input_ids[0, : windows * length]
    if len(ids) < windows * length:
        raise ValueError(f"the text has {len(ids)} tokens; {windows} windows of {length} need more")
    losses = []
    with torch.inference_mode():
        for batch in ids.view(windows, length).split(4):
            logits = model(batch).logits[:, :-1].float()
            flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none")
            losses.append(flat)
    return math.exp(torch.cat(losses).mean().item())


def answer(model: Any, question: str, tokens: int = 24) -> str:
    """The greedy answer to one question, asked through the checkpoint's own chat template."""
    import torch

    model = load(model) if isinstance(model, Path) else model
    tokenizer = tokenizer_of(model)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        ids = model.generate(**asked, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(ids[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


def load(folder: Path) -> Any:
    """The folder as a transformers causal language model in fp32; no key may be missing or unexpected."""
    import torch
    import transformers

    model, remarks = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    if any(remarks.values()):
        raise ValueError(f"{folder} does not load cleanly: {remarks}")
    return model.eval()


def tokenizer_of(model: Any) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(model.name_or_path)
