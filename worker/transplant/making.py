"""From what is wanted to the published checkpoint of a model with another model's tokenizer."""

from __future__ import annotations

from functools import partial

from app.library.facts import Library
from app.planning.rates import Rates
from app.pretransplant import Pretransplant, pretransplant
from app.storage.base import Manifest
from app.storage.local import read_manifest
from app.transplant.card import transplant_card
from app.transplant.wanted import WantedTransplant, read_transplant
from worker.steps.checkpoint import Checked, Order, make_planned
from worker.steps.watch import Watch
from worker.transplant.rows import NewRows


def make_transplant(order: Order, library: Library, watch: Watch) -> Manifest:
    """``order.recipe`` is what ``write_transplant`` wrote. Raises Refused, OSError, or what ``watch`` raises;
    ``order.work`` then holds what is finished."""
    there = read_manifest(order.final)
    if there is not None:
        return there
    watch.enter("checking", "Comparing the two vocabularies.")
    looked = _look(read_transplant(order.recipe), library, order.token, order.rates, pin=order.pin)
    asked = read_transplant(order.asked or order.recipe).parents()
    checked = Checked(looked.plan, looked.estimate, looked.findings, asked)
    rows = NewRows(looked)
    card = partial(transplant_card, wanted=looked.wanted, match=looked.match, rebuilt=rows.rebuilt)
    return make_planned(checked, order, library, watch, prepare=rows.prepared, card=card, found=rows.told)


def _look(wanted: WantedTransplant, library: Library, token: str | None, rates: Rates, *, pin: bool) -> Pretransplant:
    """With ``pin`` the models' commits are settled first."""
    looked = pretransplant(wanted, library, token, rates)
    return pretransplant(looked.wanted, library, token, rates) if pin and looked.wanted != wanted else looked
