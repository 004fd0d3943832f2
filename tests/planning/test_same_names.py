"""Models under the names of another: what is found out once for two models' headers is not found out again."""

from __future__ import annotations

from dataclasses import replace

from app.planning.folding import fold_tensors
from app.planning.same_names import called_as
from tests.planning.models import facts, llama_config, llama_shapes, mixture_shapes


def test_names_are_brought_together_once_for_two_models() -> None:
    shapes = mixture_shapes(4, 12)
    frame = facts("o/a", shapes, llama_config(4))
    bare = facts("o/b", {name.removeprefix("model."): shape for name, shape in shapes.items()}, llama_config(4))
    bare = replace(bare, folded=fold_tensors(bare.tensors))
    once = called_as(frame, bare)
    again = called_as(replace(frame, ref="o/a@main"), replace(bare, texts={}, remarks=()))
    assert set(once.tensors) == set(frame.tensors)
    assert once.folded is not None
    assert again.tensors is once.tensors
    assert again.folded is once.folded
    assert "o/a@main" in again.remarks[0].text
    assert called_as(frame, replace(bare, folded=None)).folded is None
    assert called_as(frame, replace(bare, tensors=dict(bare.tensors))).tensors is not once.tensors


def test_a_model_of_the_same_names_stays_as_it_is() -> None:
    frame, other = (facts(f"o/{one}", llama_shapes(), llama_config()) for one in "ab")
    assert called_as(frame, other) is other
    fewer = replace(other, tensors={name: other.tensors[name] for name in list(other.tensors)[1:]})
    assert called_as(frame, fewer) is fewer
