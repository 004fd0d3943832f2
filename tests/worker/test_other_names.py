"""Checkpoints that call the same weights otherwise: merged they give what they give under one name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.library.facts import Library
from tests.support.families import load, make_family
from tests.worker.quiet import merged

OLD_NORMS = (
    (r"(LayerNorm|layer_norm|ln_\w+)\.weight$", r"\1.gamma"),
    (r"(LayerNorm|layer_norm|ln_\w+)\.bias$", r"\1.beta"),
)
OTHER_NAMES = {
    "gpt2-as-published": ("gpt2", ((r"^transformer\.", ""),)),
    "bert-of-old": ("bert", OLD_NORMS),
    "compiled": ("qwen3", ((r"^", "_orig_mod."),)),
    "roberta-in-a-frame": ("roberta", ((r"^", "roberta."),)),
    "old-norms-in-a-frame": ("roberta", ((r"^", "roberta."), *OLD_NORMS)),
    "eyes-and-language": ("qwen2-vl", ((r"^", "model."),)),
}
RECIPE = """\
merge_method: {method}
base_model: local:models/{first}
models:
- {{model: 'local:models/{first}', parameters: {{weight: 1}}}}
- {{model: 'local:models/{second}', parameters: {{weight: 1, density: 0.5}}}}
parameters: {{normalize: true}}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for case, (family, changes) in OTHER_NAMES.items():
        for number in (1, 2):
            made = make_family(family, folder / f"{case}-{number}", seed=number)
            other = folder / f"{case}-{number}-renamed"
            shutil.copytree(made, other)
            for path in other.glob("*.safetensors"):
                tensors = load_file(path)
                for pattern, name in changes:
                    tensors = {re.sub(pattern, name, own): one for own, one in tensors.items()}
                save_file(tensors, path, {"format": "pt"})
    return folder


def weights(folder: Path) -> dict[str, bytes]:
    return {
        name: one.flatten().view(torch.uint8).numpy().tobytes()
        for path in folder.glob("*.safetensors")
        for name, one in load_file(path).items()
    }


@pytest.mark.parametrize("method", ["linear", "ties"])
@pytest.mark.parametrize("case", OTHER_NAMES)
def test_they_meet(case: str, method: str, models: Path, library: Library, tmp_path: Path) -> None:
    """Names are those of the base, and not a byte differs from the merge of two with one set of names."""
    first, second = f"{case}-1", f"{case}-2"
    merged(RECIPE.format(method=method, first=first, second=second), library, tmp_path / "plain")
    plan = merged(RECIPE.format(method=method, first=first, second=f"{second}-renamed"), library, tmp_path / "other")
    assert [one.code for one in plan.findings if one.level != "info"] == []
    assert weights(tmp_path / "other" / "out") == weights(tmp_path / "plain" / "out")


def test_the_base_may_be_the_one_with_other_names(models: Path, library: Library, tmp_path: Path) -> None:
    """GPT-2 as it was published: loaders know both names."""
    recipe = RECIPE.format(method="linear", first="gpt2-as-published-1-renamed", second="gpt2-as-published-2")
    merged(recipe, library, tmp_path)
    assert {name.split(".")[0] for name in weights(tmp_path / "out")} == {"wte", "wpe", "h", "ln_f"}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]
    load(tmp_path / "out")


def test_unlike_models_stay_apart(models: Path, library: Library, tmp_path: Path) -> None:
    """Layers that are called alike once what is outside is left out, but of other shapes."""
    with pytest.raises(Exception, match="built differently"):
        merged(RECIPE.format(method="linear", first="bert-of-old-1", second="compiled-2"), library, tmp_path)
