"""The parts of names that stand for modules, over the naming of several families."""

from __future__ import annotations

import pytest

from app.planning.name_parts import name_parts

LLAMA = {
    "q": ("self_attn.q_proj.weight",),
    "k": ("self_attn.k_proj.weight",),
    "o": ("self_attn.o_proj.weight",),
    "gate": ("mlp.gate_proj.weight",),
    "up": ("mlp.up_proj.weight",),
    "down": ("mlp.down_proj.weight",),
    "norm": ("input_layernorm.weight", "post_attention_layernorm.weight"),
}
QWEN3 = {
    **LLAMA,
    "q": ("self_attn.q_proj.weight", "self_attn.q_proj.bias"),
    "norm": (*LLAMA["norm"], "self_attn.q_norm.weight"),
}
MIXTRAL = {
    "q": ("self_attn.q_proj.weight",),
    "gate": ("block_sparse_moe.experts.0.w1.weight", "block_sparse_moe.experts.11.w1.weight"),
    "down": ("block_sparse_moe.experts.0.w2.weight", "block_sparse_moe.experts.11.w2.weight"),
    "router": ("block_sparse_moe.gate.weight",),
    "norm": ("input_layernorm.weight",),
}
GPT2 = {
    "qkv": ("attn.c_attn.weight", "attn.c_attn.bias"),
    "o": ("attn.c_proj.weight", "attn.c_proj.bias"),
    "up": ("mlp.c_fc.weight", "mlp.c_fc.bias"),
    "down": ("mlp.c_proj.weight", "mlp.c_proj.bias"),
    "norm": ("ln_1.weight", "ln_2.weight", "ln_1.bias"),
}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (LLAMA, {"attention": "self_attn", "MLP": "mlp", "norms": "layernorm", "q": "q_proj", "up": "up_proj"}),
        (QWEN3, {"attention": "self_attn", "MLP": "mlp", "norms": "norm", "q": "q_proj"}),
        (MIXTRAL, {"MLP": "block_sparse_moe", "gate": "w1", "down": "w2", "router": "gate"}),
        (
            GPT2,
            {
                "attention": "attn",
                "MLP": "mlp",
                "norms": "ln_",
                "qkv": "c_attn",
                "o": "attn.c_proj",
                "down": "mlp.c_proj",
            },
        ),
    ],
    ids=["llama", "qwen3", "mixtral", "gpt2"],
)
def test_parts_of_known_families(columns: dict[str, tuple[str, ...]], expected: dict[str, str]) -> None:
    found = {one.label: one.filter for one in name_parts(columns)}
    assert {label: found.get(label) for label in expected} == expected


@pytest.mark.parametrize("columns", [LLAMA, QWEN3, MIXTRAL, GPT2], ids=["llama", "qwen3", "mixtral", "gpt2"])
def test_a_part_matches_its_column_and_no_other(columns: dict[str, tuple[str, ...]]) -> None:
    for one in name_parts(columns):
        if one.group:
            continue
        assert one.filter in one.sample
        for column, names in columns.items():
            assert all((one.filter in name) == (column == one.label) for name in names)


def test_what_has_no_part_is_left_out() -> None:
    assert name_parts({}) == ()
    same = name_parts({"a": ("x.weight",), "b": ("x.bias",)})
    assert same == ()
