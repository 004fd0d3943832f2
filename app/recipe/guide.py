"""Which method? Three questions about what somebody has and wants, and one or two methods as the answer.

A decision table: the first rule that fits counts. Where nothing can be expected to work, the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.recipe.catalogue import METHODS, Method
from app.recipe.schema import Recipe

ANY = ""


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    words: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """``name`` is the field of the form."""

    name: str
    words: str
    options: tuple[Option, ...]


QUESTIONS = (
    Question("have", "What do you have?", (
        Option("one", "One model"),
        Option("two", "Two models"),
        Option("more", "Three or more models"),
        Option("adapters", "LoRA adapters", "Small files that go on top of a model."),
    )),
    Question("base", "Are they fine-tunes of one base, and do you know which?", (
        Option("shared", "Yes, all of one base", "The base_model of their pages names it."),
        Option("unsure", "I am not sure"),
        Option("none", "No, they were trained apart"),
    )),
    Question("want", "What do you want from them?", (
        Option("blend", "Blend them evenly", "Something in between, steadier than either."),
        Option("combine", "Combine what each can do", "Chat and code, say, in one model."),
        Option("carry", "Carry one skill over to another model", "What a fine-tune learnt, put onto a model of mine."),
        Option("stack", "Build a deeper model", "Layers on top of each other."),
    )),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pick:
    """A method of the catalogue, and why it is the one."""

    name: str
    reason: str

    @property
    def method(self) -> Method:
        return METHODS[self.name]


@dataclass(frozen=True, slots=True)
class Advice:
    """The best method first; empty where none can be advised. ``note`` says what to mind, or what to do instead,
    ``adapters`` what an adapter as the result is good for, ``mixture`` what a mixture of experts is."""

    picks: tuple[Pick, ...]
    note: str = ""
    adapters: str = ""
    mixture: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What fits the answers; ``ANY`` fits all."""

    have: str
    base: str
    want: str
    advice: Advice

    def fits(self, answers: Mapping[str, str]) -> bool:
        return all(
            one in (ANY, answers[name]) for name, one in zip(_NAMES, (self.have, self.base, self.want), strict=True)
        )


_NAMES = tuple(question.name for question in QUESTIONS)
_STACK = Pick("passthrough", "It takes layers as they are, in any order, from one model or from several of one shape.")
_LOSES = "Stacks come out broken more often than not until they are trained further."
_STRANGERS = (
    "Models that were trained apart share only their shapes: what lies between them is noise, whatever the method. "
    "Run them side by side, or train one on the other's answers."
)
_FIND_BASE = (
    "Look for base_model on the models' pages, or add them to the builder: its checks look for a common ancestor."
)
_ONE_ADAPTER = (
    "The adapters can also become one adapter, a small file that goes on the same model. The model is not even needed "
    "for it, so it takes seconds; sums are exact."
)
_APART = (
    "The models can also stay whole, side by side in a mixture of experts: a router sends every token to two of them. "
    "It takes the memory of all, and nothing is trained, so which of them a token reaches is a guess from a few "
    "prompts."
)

RULES = (
    Rule("adapters", ANY, "stack", Advice(
        (_STACK,), f"An adapter has no layers of its own: model+adapter stacks the model with it put on. {_LOSES}",
    )),
    Rule(ANY, ANY, "stack", Advice((_STACK,), f"{_LOSES} A ready recipe to start from: Depth up-scaling.")),
    Rule("one", "shared", "carry", Advice(
        (Pick("transfer", "It adds what the fine-tune learnt, its difference from its base, to another model."),),
        "The other model has to come from the same base. Put it first: the first model receives.",
    )),
    Rule("one", "shared", ANY, Advice(
        (Pick("slerp", "With its own base as the second model it takes a fine-tune a step back, which often returns "
              "knowledge and ease of style."),),
        "Start with t near 0.7, towards the fine-tune.",
    )),
    Rule("one", ANY, ANY, Advice((), "One model alone can only be stacked. Find its base or a second fine-tune.")),
    Rule("adapters", "shared", "blend", Advice(
        (Pick("linear", "Each model+adapter is a parent; their average halves what each adapter does."),),
        "Write every parent as model+adapter with the same model.", _ONE_ADAPTER,
    )),
    Rule("adapters", "shared", "combine", Advice(
        (Pick("task_arithmetic", "An adapter is a change from its base already; changes of different skills add up."),
         Pick("ties", "If they disturb each other: it keeps the largest changes and settles conflicts by vote.")),
        "Write every parent as model+adapter; the model itself is the base.", _ONE_ADAPTER,
    )),
    Rule("adapters", "shared", "carry", Advice(
        (Pick("transfer", "The adapter's change goes onto your model, as strongly as you say."),),
        "Your model has to come from the adapter's base. Put it first: the first model receives.",
    )),
    Rule("adapters", "unsure", ANY, Advice(
        (), "An adapter only fits the model it was trained on: base_model_name_or_path in its adapter_config.json.",
    )),
    Rule("adapters", "none", ANY, Advice(
        (), "Adapters of different bases have nothing in common: each fits its own model only.",
    )),
    Rule(ANY, "none", ANY, Advice((), _STRANGERS)),
    Rule("two", "shared", "blend", Advice(
        (Pick("slerp", "The classic for two: one slider, t, which may change over the layers."),
         Pick("linear", "The plain average, if each model should have a weight of its own.")),
    )),
    Rule("more", "shared", "blend", Advice(
        (Pick("model_stock", "For fine-tunes of the same task: it finds the best place between them and the base, with "
              "nothing to tune."),
         Pick("linear", "The plain average, also called a model soup, where the base is not at hand.")),
    )),
    Rule("two", "shared", "combine", Advice(
        (Pick("task_arithmetic", "It adds both changes to the base; the method with the best record on real models."),
         Pick("dare_ties", "If the sum rambles: it thins out both changes and votes where they disagree.")),
        "Let the weights add up to about one, then try more.", mixture=_APART,
    )),
    Rule("more", "shared", "combine", Advice(
        (Pick("ties", "Made for this: it keeps each parent's largest changes and lets them vote where they disagree."),
         Pick("task_arithmetic", "Simpler, and often as good; try it too, with smaller weights.")),
        mixture=_APART,
    )),
    Rule(ANY, "shared", "carry", Advice(
        (Pick("transfer", "It adds what one fine-tune learnt, its difference from the base, to the first model."),),
        "Start with a weight of one; lower it if the first model forgets what it could do.",
    )),
    Rule("two", "unsure", "blend", Advice(
        (Pick("slerp", "It needs no base to be named, and shows quickly whether the two go together."),), _FIND_BASE,
    )),
    Rule("more", "unsure", "blend", Advice(
        (Pick("karcher", "The mean of directions: every model counts the same, no base has to be named."),), _FIND_BASE,
    )),
    Rule(ANY, "unsure", ANY, Advice(
        (), f"Combining and carrying over work with differences from the base, so it has to be known. {_FIND_BASE}",
    )),
)  # fmt: skip


def advise(answers: Mapping[str, str]) -> Advice | None:
    """The answer to the three questions, None while one is open. Unknown answers count as open."""
    if any(answers.get(question.name) not in {one.value for one in question.options} for question in QUESTIONS):
        return None
    return next(rule.advice for rule in RULES if rule.fits(answers))


def known_from(recipe: Recipe) -> dict[str, str]:
    """The answers that a recipe in the making gives already."""
    parents = recipe.parents()
    others = [one for one in parents if one != recipe.base_model]
    answers: dict[str, str] = {}
    if any(one.adapter for one in parents):
        answers["have"] = "adapters"
    elif parents:
        answers["have"] = {0: "one", 1: "one", 2: "two"}.get(len(others), "more")
    if recipe.base_model and METHODS[recipe.merge_method].uses_deltas:
        answers["base"] = "shared"
    return answers
