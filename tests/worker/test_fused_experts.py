"""Adapters that PEFT trained on all experts of a mixture at once, from recipe to finished checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.library.facts import Library
from app.library.local import LocalRoots
from tests.support.adapters import write_adapter
from tests.support.checkpoints import read_tensors
from tests.support.families import load, make_family
from tests.worker.quiet import merged


def test_an_adapter_on_fused_experts_goes_on_experts_that_lie_apart(tmp_path: Path) -> None:
    """In memory the experts of a Qwen3-MoE are one tensor, on the disk a matrix each; PEFT's factors know the former.
    Held against float64, and loaded."""
    base = make_family("qwen3-moe", tmp_path / "base", seed=3)
    own = read_tensors(base)
    holder = "model.layers.1.mlp.experts"
    experts = sum(name.startswith(holder) and name.endswith("down_proj.weight") for name in own)
    width, hidden = own[f"{holder}.0.gate_proj.weight"].shape
    rng = np.random.default_rng(4)
    sizes = {f"{holder}.base_layer": (hidden, 2 * width), holder: (width, hidden)}
    tensors = {
        f"{module}.lora_{letter}.weight": rng.normal(0, 0.1, shape).astype(np.float32)
        for module, (inputs, outputs) in sizes.items()
        for letter, shape in (("A", (4 * experts, inputs)), ("B", (outputs, 4 * experts)))
    }
    names = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    write_adapter(tmp_path / "lora", tensors, target_modules=[], target_parameters=names)
    library = Library(None, LocalRoots({"d": tmp_path}))
    text = "merge_method: passthrough\nmodels: [{model: local:d/base+local:d/lora}]\ndtype: float32\n"
    merged(text, library, tmp_path)
    library.close()
    wanted = {name: values.astype(np.float64) for name, values in own.items()}
    for module, pieces in ((f"{holder}.base_layer", ("gate_proj", "up_proj")), (holder, ("down_proj",))):
        down, up = (tensors[f"{module}.lora_{letter}.weight"].astype(np.float64) for letter in "AB")
        for expert in range(experts):
            change = 2 * up[:, expert::experts] @ down[4 * expert : 4 * expert + 4]
            for piece, rows in zip(pieces, np.split(change, len(pieces)), strict=True):
                wanted[f"{holder}.{expert}.{piece}.weight"] += rows
    result = read_tensors(tmp_path / "out")
    assert result.keys() == wanted.keys()
    for name, values in result.items():
        np.testing.assert_allclose(values, wanted[name], rtol=0, atol=1e-6)
    load(tmp_path / "out")
