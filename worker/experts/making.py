"""From a mixture's recipe to its published checkpoint: for the worker and the command line."""

from __future__ import annotations

from functools import partial

from app.experts.card import mixture_card
from app.experts.wanted import WantedMixture, read_mixture
from app.library.facts import Library
from app.planning.rates import Rates
from app.planning.tokenizer_file import TOKENIZER
from app.premix import Premix, premix
from app.storage.base import Manifest
from app.storage.local import read_manifest
from worker.experts.routing import Routing
from worker.steps.checkpoint import Checked, Order, make_planned
from worker.steps.watch import Watch


def make_mixture(order: Order, library: Library, watch: Watch) -> Manifest:
    """``order.recipe`` is the mixture's. Raises Refused, OSError, or what ``watch`` raises; ``order.work`` then holds
    what is finished."""
    there = read_manifest(order.final)
    if there is not None:
        return there
    watch.enter("checking", "Checking the recipe against its models.")
    looked = _look(read_mixture(order.recipe), library, order.token, order.rates, pin=order.pin)
    asked = read_mixture(order.asked or order.recipe).parents()
    checked = Checked(looked.plan, looked.estimate, looked.findings, asked)
    routing = Routing(looked, _tokenizer(looked, library, order.token))
    card = partial(mixture_card, wanted=looked.wanted, target=looked.target)
    return make_planned(checked, order, library, watch, prepare=routing.prepared, card=card)


def _look(wanted: WantedMixture, library: Library, token: str | None, rates: Rates, *, pin: bool) -> Premix:
    """With ``pin`` the models' commits are settled first."""
    looked = premix(wanted, library, token, rates)
    return premix(looked.wanted, library, token, rates) if pin and looked.wanted != wanted else looked


def _tokenizer(looked: Premix, library: Library, token: str | None) -> str | None:
    if not looked.wanted.prompted:
        return None
    facts = library.with_tokenizer(looked.wanted.base, looked.dense.facts, token)
    return facts.texts[TOKENIZER]
