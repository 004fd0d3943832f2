"""Which tensors meet, which rows are read, and what somebody may ask for."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparing.meeting import MOST_MODELS, SAMPLE_BYTES, meet
from app.comparing.sampling import counted, sample_rows, spread
from app.comparing.wanted import Wanted, read_wanted
from app.planning.facts import FileFacts, ModelFacts, TensorFacts
from app.recipe.findings import Refused


def model(ref: str, tensors: dict[str, tuple[int, ...]], dtype: str = "BF16", present: bool = False) -> ModelFacts:
    found, at = {}, 100
    for name, shape in tensors.items():
        size = 2
        for length in shape:
            size *= length
        found[name] = TensorFacts(name, dtype, shape, "model.safetensors", at, at + size)
        at += size
    return ModelFacts(ref, {}, found, (FileFacts("model.safetensors", at, present=present),))


def llama(layers: int, width: int, experts: int = 0) -> dict[str, tuple[int, ...]]:
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32000, width)}
    for layer in range(layers):
        place = f"model.layers.{layer}"
        tensors |= {f"{place}.self_attn.{one}_proj.weight": (width, width) for one in "qkvo"}
        tensors[f"{place}.input_layernorm.weight"] = (width,)
        for name in [f"mlp.experts.{one}" for one in range(experts)] or ["mlp"]:
            tensors |= {f"{place}.{name}.{one}_proj.weight": (4 * width, width) for one in ("gate", "up")}
            tensors[f"{place}.{name}.down_proj.weight"] = (width, 4 * width)
    return tensors


@given(st.integers(1, 100_000), st.integers(1, 300), st.integers(1, 6), st.text(max_size=20))
def test_sampled_rows_are_rows(rows: int, take: int, blocks: int, key: str) -> None:
    ranges = sample_rows(rows, take, blocks, key)
    assert ranges == sample_rows(rows, take, blocks, key)
    assert all(0 <= first < end <= rows for first, end in ranges)
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
    assert counted(ranges) <= max(take, 1)
    assert counted(ranges) >= min(rows, take - blocks + 1)


def test_spread_goes_over_all() -> None:
    assert spread(3, 6) == (0, 1, 2)
    assert spread(128, 4) == (0, 32, 64, 96)


@pytest.mark.parametrize(("layers", "width"), [(32, 4096), (80, 8192), (30, 576)])
def test_a_sample_costs_megabytes(layers: int, width: int) -> None:
    """Of 7 B parameters half a percent, of 70 B a tenth of a percent; few requests."""
    tensors = llama(layers, width)
    meeting = meet([model("a/a", tensors), model("a/b", tensors)], model("a/base", tensors), full=False)
    assert len(meeting.tensors) == len(tensors)
    assert meeting.read_bytes <= 3 * max(SAMPLE_BYTES * 1.2, 8 * 2 * layers * 17 * width * 1.1)
    assert sum(len(met.rows) * len(met.parts) for met in meeting.tensors) <= 3000
    assert meeting.download_bytes == meeting.read_bytes
    assert meeting.files_needed == ()


def test_of_many_experts_some_are_looked_at() -> None:
    tensors = llama(4, 256, experts=64)
    one, other = model("a/a", tensors), model("a/b", tensors)
    meeting = meet([one, other], None, full=False)
    assert {len([met for met in meeting.tensors if (met.layer, met.module) == (2, name)]) for name in ("up", "q")} == {
        6, 1,
    }  # fmt: skip
    assert len(meet([one, other], None, full=True).tensors) == len(tensors)


def test_everything_reads_all_and_fetches_what_is_missing() -> None:
    tensors = llama(2, 64)
    here, there = model("local:models/a", tensors, present=True), model("a/b", tensors)
    meeting = meet([here, there], None, full=True)
    assert meeting.read_bytes == 2 * there.parameters * 2
    assert meeting.files_needed == ((0, "model.safetensors"), (1, "model.safetensors"))
    assert meeting.download_bytes == there.files[0].size
    assert meet([here, there], None, full=False).download_bytes * 2 == meet([here, there], None, full=False).read_bytes


def test_tensors_that_do_not_meet_are_left_out_with_the_reason() -> None:
    shapes = {"lm_head.weight": (10, 4), "model.embed_tokens.weight": (10, 4), "model.norm.weight": (4,)}
    one = model("a/a", shapes | {"extra.weight": (2, 2)})
    other = model("a/b", shapes | {"model.embed_tokens.weight": (12, 4)})
    meeting = meet([one, other], None, full=False)
    assert {met.name for met in meeting.tensors} == {"lm_head.weight", "model.norm.weight"}
    assert {left.name: left.why for left in meeting.left_out} == {
        "extra.weight": "not in a/b",
        "model.embed_tokens.weight": "of different shapes: 10 × 4, 12 × 4",
    }
    whole_numbers = model("a/c", {"lm_head.weight": (10, 4)}, "I64")
    with pytest.raises(Refused) as refused:
        meet([one, whole_numbers], None, full=False)
    assert refused.value.findings[0].code == "nothing-in-common"


def test_too_few_and_too_many() -> None:
    one = model("a/a", {"lm_head.weight": (10, 4)})
    for models, code in (([one], "too-few-models"), ([one] * (MOST_MODELS + 1), "too-many-models")):
        with pytest.raises(Refused) as refused:
            meet(models, None, full=False)
        assert refused.value.findings[0].code == code


def test_what_is_asked_for() -> None:
    asked = read_wanted(["a/b", "a/c@v1", " ", "a/base"], "a/base", top=0.1)
    assert [str(one) for one in asked.everyone] == ["a/b", "a/c@v1", "a/base"]
    assert Wanted.of_params(asked.as_params()) == asked
    for models, base, top, code in (
        (["a/b", "a/b"], None, 0.2, "model-twice"),
        (["a/b", "http://a/b"], None, 0.2, "bad-reference"),
        (["a/b", "a/c+a/lora"], None, 0.2, "adapter-not-supported"),
        (["a/b", "a/c"], None, 1.0, "bad-top"),
    ):
        with pytest.raises(Refused) as refused:
            read_wanted(models, base, top=top)
        assert refused.value.findings[0].code == code
