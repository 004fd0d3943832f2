"""A mixture of two real specialists: it reads what each of them reads, and its routers tell the two apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.library.facts import Library
from app.library.local import LocalRoots
from tests.support.asking import answer, held_out_python, held_out_scripture, load, perplexity, tokenizer_of
from tests.support.quiet import Quiet
from tests.support.real_models import prepare
from worker.experts.making import make_mixture
from worker.steps.checkpoint import Order

pytestmark = pytest.mark.real

RECIPE = """\
base_model: local:d/base
gate_mode: hidden
dtype: bfloat16
experts_per_token: 1
experts:
- source_model: local:d/python
  positive_prompts: ["def main(argv):", "import os", "class Parser(object):", "    return self.value"]
- source_model: local:d/scripture
  positive_prompts: ["And it came to pass that", "Thou shalt not", "And the LORD spake unto Moses, saying"]
"""


def test_a_mixture_reads_what_each_specialist_reads(tmp_path: Path):
    import torch

    library = Library(None, LocalRoots({"d": prepare().base.parent}))
    make_mixture(Order(RECIPE, tmp_path / "work", tmp_path / "out"), library, Quiet())
    library.close()
    model = load(tmp_path / "out")
    assert perplexity(model, held_out_python(), 2) < 10.1  # the base has 11.3, the specialist 8.8
    assert perplexity(model, held_out_scripture(), 2) < 34.5  # the base has 37.5, the specialist 32.4
    shares = []
    for text in (held_out_python(), held_out_scripture()):
        tokens = tokenizer_of(model)(text[:1000], return_tensors="pt").input_ids
        with torch.inference_mode():
            logits = torch.cat(model(tokens, output_router_logits=True).router_logits)
        shares.append((logits.argmax(dim=-1) == 0).double().mean().item())
    assert shares[0] > shares[1] + 0.15
    assert "Paris" in answer(model, "What is the capital of France?")
