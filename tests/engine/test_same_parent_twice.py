"""One parent with two of its layers in a tensor: each draws for itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.planning.plan import Input, Plan, Step
from app.recipe.schema import Recipe
from tests.engine import oracle
from tests.engine.draws import dare_mask
from tests.engine.plans import lay_out, load_result, save_parent
from worker.engine.execute import execute
from worker.engine.methods.parameters import draw_names


def test_draws_of_the_second_place_are_numbered() -> None:
    assert draw_names(["a", "b", "a", "a"]) == ["a", "b", "a #2", "a #3"]


@pytest.mark.usefixtures("no_sync")
def test_two_layers_of_one_parent_are_thinned_out_apart(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    layers = [generator.normal(size=(40, 60)).astype(np.float32) for _ in range(3)]
    names = ("base", "low", "high")
    facts = save_parent(tmp_path / "p", {name: torch.from_numpy(one) for name, one in zip(names, layers, strict=True)})
    each = {"weight": 0.5, "density": 0.5}
    inputs = tuple(Input(0, facts.tensors[name], each) for name in names[1:])
    step = Step("t", "F32", (40, 60), "dare_linear", inputs, Input(0, facts.tensors["base"]), {"rescale": False})
    execute(Plan(Recipe("dare_linear"), (facts,), (lay_out("model.safetensors", [step]),), seed=9), [tmp_path / "p"],
            tmp_path / "out")  # fmt: skip
    masks = [dare_mask(9, "t", name, 0, 2400, 0.5).reshape(40, 60) for name in ("p", "p #2")]
    assert (masks[0] != masks[1]).any()
    expected = oracle.merge("dare_linear", layers[0], layers[1:], {"rescale": False}, [each, each], masks)
    np.testing.assert_allclose(load_result(tmp_path / "out")["t"].numpy(), expected, rtol=1e-5, atol=1e-6)
