"""The command transplant-tokenizer: a model with another model's tokenizer."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from app.transplant.wanted import APPROACHES, TEMPLATES, K, WantedTransplant, write_transplant
from worker.arguments import whole

Add = Callable[[str, str], argparse.ArgumentParser]


def register(add: Add) -> argparse.ArgumentParser:
    one = add(
        "transplant-tokenizer",
        "Give a model another model's tokenizer, so that the two can be merged: all weights stay, embedding and head "
        "get a row for each of the donor's tokens.",
    )
    one.add_argument("model", metavar="MODEL", help="a folder, local:root/name or a Hub id")
    one.add_argument("donor", metavar="DONOR", help="the model whose tokenizer it gets")
    one.add_argument(
        "--approach", choices=tuple(APPROACHES), default="auto",
        help="where rows of tokens come from that the model does not have: omp and nearest compare them with shared "
        "tokens in the donor's embeddings, subword cuts them into the model's own tokens, auto (the default) is omp, "
        "or mean where the donor's embeddings tell nothing",
    )  # fmt: skip
    one.add_argument(
        "--k", type=whole, default=K, help=f"shared tokens that a new one is made of, at most; {K} without"
    )
    one.add_argument(
        "--chat-template", choices=TEMPLATES, default="donor", help="whose, or which one; the donor's without"
    )
    one.add_argument("--json", action="store_true", help="print the result's manifest as JSON")
    one.set_defaults(device="cpu", seed=None)
    return one


def transplant_text(asked: argparse.Namespace) -> str:
    """What is asked for, as the result will carry it. Raises Refused."""
    told = {"model": asked.model, "donor": asked.donor, "approach": asked.approach, "k": asked.k}
    return write_transplant(WantedTransplant.of_params({**told, "chat_template": asked.chat_template}))
