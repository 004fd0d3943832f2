"""Adapters on parameters that are no linear layer's weight: which factors belong to which parameter, and which way."""

from __future__ import annotations

from typing import Any

import pytest

from app.planning.adapted import AdaptedTensor, LowRank
from app.planning.adapters import about_adapter, remarks
from app.planning.facts import ModelFacts
from app.recipe.findings import Refused
from tests.planning.models import Shapes, facts
from tests.planning.test_adapters import changed, codes, on

EXPERTS, HIDDEN, WIDTH, RANK = 5, 8, 6, 4
HOLDER = "model.layers.0.mlp.experts"
BOTH = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def lora(inputs: int, outputs: int, module: str = HOLDER, rank: int = RANK, experts: int = EXPERTS) -> Shapes:
    return {
        f"{module}.lora_A.weight": (rank * experts, inputs),
        f"{module}.lora_B.weight": (outputs, rank * experts),
    }


STRAIGHT = lora(HIDDEN, 2 * WIDTH, f"{HOLDER}.base_layer") | lora(WIDTH, HIDDEN)


def fused(width: int = WIDTH, turned: bool = False, **more: tuple[int, ...]) -> ModelFacts:
    shapes = {"gate_up_proj": (2 * width, HIDDEN), "down_proj": (HIDDEN, width)}
    tensors = {f"{HOLDER}.{name}": (EXPERTS, *(shape[::-1] if turned else shape)) for name, shape in shapes.items()} | {
        f"model.layers.0.mlp.{name.replace('__', '.')}": shape for name, shape in more.items()
    }
    return facts("o/a", {"model.embed_tokens.weight": (32, HIDDEN), **tensors})


def single(holder: str, gate: str, up: str, down: str) -> ModelFacts:
    tensors: Shapes = {"model.embed_tokens.weight": (32, HIDDEN)}
    for expert in range(EXPERTS):
        at = f"model.layers.0.{holder}.{expert}"
        tensors |= {f"{at}.{name}.weight": (WIDTH, HIDDEN) for name in (gate, up)}
        tensors[f"{at}.{down}.weight"] = (HIDDEN, WIDTH)
    return facts("o/a", tensors)


def added(one: AdaptedTensor) -> LowRank:
    assert one.added is not None
    return one.added


def told(shapes: Shapes, model: ModelFacts, **settings: Any) -> str:
    with pytest.raises(Refused) as caught:
        on(shapes, model, **settings)
    assert len(codes(caught.value)) == 1
    return f"{codes(caught.value)[0]}: {caught.value.findings[0].text}"


def test_sizes_tell_which_factors_belong_to_which_parameter():
    model = on(STRAIGHT, fused(), target_parameters=BOTH)
    found = changed(model)
    assert list(found) == [f"{HOLDER}.gate_up_proj", f"{HOLDER}.down_proj"]
    gate, down = map(added, found.values())
    assert [gate.up.shape, down.up.shape] == [(2 * WIDTH, RANK * EXPERTS), (HIDDEN, RANK * EXPERTS)]
    assert all(one.experts == EXPERTS and one.rank == RANK and not one.transposed for one in (gate, down))
    assert gate.scale == 2.0
    assert about_adapter(model) == "LoRA of rank 4 on gate+up and down"
    assert not [one for one in remarks("x", model) if one.code == "adapter-settings"]
    inner = lora(WIDTH, HIDDEN, f"{HOLDER}.base_layer") | lora(HIDDEN, 2 * WIDTH)
    assert changed(on(inner, fused(), target_parameters=["gate_up_proj", "down_proj"])).keys() == found.keys()


def test_factors_of_inputs_and_outputs_the_other_way_round():
    found = changed(on(STRAIGHT, fused(turned=True), target_parameters=BOTH))
    assert [added(one).transposed for one in found.values()] == [True, True]


@pytest.mark.parametrize("turned", [False, True])
def test_a_square_matrix_goes_with_those_that_are_not(turned: bool):
    """As wide inside as outside: told by the other factors, else by how gate, up and down belong together."""
    model = fused(HIDDEN, turned=turned)
    both = lora(HIDDEN, 2 * HIDDEN, f"{HOLDER}.base_layer") | lora(HIDDEN, HIDDEN)
    for shapes, names in ((both, BOTH), (lora(HIDDEN, HIDDEN), BOTH[1:])):
        found = changed(on(shapes, model, target_parameters=names))
        assert {added(one).transposed for one in found.values()} == {turned}
    alone = facts("o/a", {f"{HOLDER}.down_proj": (EXPERTS, HIDDEN, HIDDEN)})
    assert told(lora(HIDDEN, HIDDEN), alone, target_parameters=BOTH) == (
        f"adapter-unsupported: {HOLDER}.down_proj is square, and nothing tells inputs from outputs."
    )


@pytest.mark.parametrize(
    ("holder", "names"),
    [
        ("mlp.experts", ("gate_proj", "up_proj", "down_proj")),
        ("block_sparse_moe.experts", ("w1", "w3", "w2")),
    ],
    ids=["qwen3-moe", "mixtral"],
)
def test_experts_that_lie_apart_in_the_checkpoint(holder: str, names: tuple[str, str, str]):
    found = changed(on(STRAIGHT, single(holder, *names), target_parameters=BOTH))
    assert len(found) == 3 * EXPERTS
    gate, up, down = (added(found[f"model.layers.0.{holder}.3.{name}.weight"]) for name in names)
    assert [one.expert for one in (gate, up, down)] == [3, 3, 3]
    assert gate.up.shape == up.up.shape == (WIDTH, RANK * EXPERTS)
    assert (gate.up.end, gate.down, down.up.shape[0]) == (up.up.begin, up.down, HIDDEN)


def test_single_matrices_are_parameters_too():
    """A router, and a bias with a row for each expert; rank and alpha go by the parameter's whole name."""
    model = fused(gate__weight=(EXPERTS, HIDDEN), experts__down_proj_bias=(EXPERTS, HIDDEN))
    router, bias = "model.layers.0.mlp.gate", f"{HOLDER}.base_layer"
    shapes = lora(HIDDEN, EXPERTS, router, experts=1) | lora(HIDDEN, EXPERTS, bias, rank=2, experts=1)
    shapes |= lora(WIDTH, HIDDEN)
    found = changed(
        on(
            shapes, model, target_parameters=["gate.weight", "experts.down_proj", "experts.down_proj_bias"],
            rank_pattern={"down_proj_bias": 2}, alpha_pattern={"mlp.gate.weight": 2, "mlp.gate": 100},
        )
    )  # fmt: skip
    assert {name.rpartition("mlp.")[2]: (added(one).experts, added(one).scale) for name, one in found.items()} == {
        "gate.weight": (0, 0.5), "experts.down_proj_bias": (0, 4.0), "experts.down_proj": (EXPERTS, 2.0),
    }  # fmt: skip


def test_layers_beside_parameters_are_what_they_were():
    layer = "model.layers.0.self_attn.q_proj"
    model = fused(turned=False)
    model = facts("o/a", {name: one.shape for name, one in model.tensors.items()} | {f"{layer}.weight": (8, 8)})
    shapes = STRAIGHT | {f"{layer}.lora_A.weight": (RANK, 8), f"{layer}.lora_B.weight": (8, RANK)}
    found = changed(on(shapes, model, target_parameters=BOTH))
    assert added(found[f"{layer}.weight"]).experts == 0
    assert len(found) == 3


def test_what_does_not_fit_is_told():
    down = lora(WIDTH, HIDDEN)
    assert told(down, facts("o/a", {"model.embed_tokens.weight": (32, 8)}), target_parameters=BOTH).startswith(
        f"adapter-target-missing: {HOLDER}: the model has none of the parameters mlp.experts.gate_up_proj"
    )
    assert told(lora(WIDTH, 9), fused(), target_parameters=BOTH).startswith("adapter-shape: The factors 9 × 20 and 20")
    assert told(lora(WIDTH, HIDDEN, experts=6), fused(), target_parameters=BOTH).startswith("adapter-shape")
    assert "has rank 4, and adapter_config.json says 8" in told(down, fused(), target_parameters=BOTH, r=8)
    assert "lora_A and lora_B" in told(
        down | {f"{HOLDER}.lora_magnitude_vector": (HIDDEN,)}, fused(), target_parameters=BOTH
    )
    twins = fused(experts__down_too=(EXPERTS, HIDDEN, WIDTH))
    assert told(down, twins, target_parameters=[*BOTH, "experts.down_too"]) == (
        f"adapter-unsupported: {HOLDER} may belong to {HOLDER}.down_proj and {HOLDER}.down_too: they are of one size."
    )
    uneven = single("mlp.experts", "gate_proj", "up_proj", "down_proj")
    name = f"{HOLDER}.2.down_proj.weight"
    uneven = facts("o/a", {key: (9, 9) if key == name else one.shape for key, one in uneven.tensors.items()})
    assert told(down, uneven, target_parameters=BOTH[1:]).startswith("adapter-target-missing")
