"""The model card: readable by the Hub, true, and safe whatever names and recipes hold."""

from __future__ import annotations

import re
from dataclasses import replace

import huggingface_hub
import pytest
import yaml
from markdown_it import MarkdownIt

from app.planning.card import model_card
from app.planning.plan import Plan
from app.planning.plan_merge import make_plan
from app.recipe.catalogue import METHODS
from tests.planning.models import facts, llama_shapes, recipe

DARE = (
    "merge_method: dare_ties\nbase_model: o/base\nmodels: [{model: o/a@main}, {model: 'o/b'}]\n"
    "parameters: {weight: 0.5, density: 0.5}\n"
)


def plan_of(text: str, licences: tuple[str | None, ...] = ("mit",) * 3, commits: bool = True) -> Plan:
    made = recipe(text)
    models = {
        ref: facts(
            str(ref), llama_shapes(), commit=f"{number:040x}" if commits and not ref.is_local else None, licence=licence
        )
        for number, (ref, licence) in enumerate(zip(made.parents(), licences, strict=False))
    }
    return make_plan(made, models, seed=11)


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_front_matter():
    assert front_matter(model_card(plan_of(DARE), "My merge")) == {
        "base_model": ["o/base", "o/a", "o/b"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "license": "mit",
        "tags": ["merge", "mergekit", "weightloom"],
    }


def test_the_hubs_own_reader_takes_it():
    data = huggingface_hub.ModelCard(model_card(plan_of(DARE), "My merge")).data
    assert data.base_model == ["o/base", "o/a", "o/b"]
    assert data.license == "mit"


def test_body():
    card = model_card(plan_of(DARE), "My merge")
    assert "# My merge\n" in card
    for number in range(3):
        assert f"`{number:040x}`" in card
    assert "[o/base](https://huggingface.co/o/base) (base)" in card
    assert "https://arxiv.org/abs/2311.03099" in card
    assert "random masks from seed 11" in card
    assert "written as BF16" in card
    assert "AutoModelForCausalLM" in card
    recipe_in_card = card.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(recipe_in_card)["models"][0]["model"] == f"o/a@{1:040x}"


@pytest.mark.parametrize(
    ("licences", "given", "expected"),
    [
        (("mit", "mit", "mit"), None, "mit"),
        (("mit", "mit", "apache-2.0"), None, None),
        (("mit", "mit", None), None, None),
        (("other", "other", "other"), None, None),
        (("mit", "mit", "apache-2.0"), "apache-2.0", "apache-2.0"),
        (("mit", "mit", "mit"), "no\n---\nevil: yes", "no\n---\nevil: yes"),
    ],
)
def test_licence(licences, given, expected):
    card = model_card(plan_of(DARE, licences), "x", licence=given)
    assert huggingface_hub.ModelCard(card).data.to_dict().get("license") == expected
    assert "evil" not in huggingface_hub.ModelCard(card).data.to_dict()


EVIL = [
    "x\n# y",
    "<script>alert(1)</script>",
    "[a](javascript:alert(1))",
    "![x](http://evil)",
    "`code`",
    "a | b | c",
    "---\nevil: yes\n---",
    "**b** _i_",
    "\u202eabc",
    "&lt;b&gt;",
    "~~x~~",
    "",
    "   ",
]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_is_only_text(name: str):
    card = model_card(plan_of(DARE), name)
    plain = model_card(plan_of(DARE), "plain")
    reader = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    kinds = [[token.type for token in reader.parse(one.split("---", 2)[2])] for one in (card, plain)]
    assert kinds[0] == kinds[1]
    heading = next(token for token in MarkdownIt().parse(card.split("---", 2)[2]) if token.type == "inline")
    assert [child.type for child in heading.children or []] == ["text"]
    assert set(front_matter(card)) == set(front_matter(plain))


@pytest.mark.parametrize("inside", ["```", "````\n# out", "a: ```\n```\nb", "`" * 50])
def test_recipe_cannot_leave_its_block(inside: str):
    plan = plan_of(DARE)
    card = model_card(plan, "x", recipe_text=inside)
    blocks = [token for token in MarkdownIt().parse(card.split("---", 2)[2]) if token.type == "fence"]
    assert blocks[0].content == inside.rstrip() + "\n"
    assert len(blocks) == 2


def test_no_machine_paths_and_no_local_names_in_the_metadata():
    text = DARE.replace("o/a@main", "/home/someone/a").replace("'o/b'", "local:root/b")
    card = model_card(plan_of(text), "x")
    assert "/home" not in card
    assert "someone/a" in card
    assert front_matter(card)["base_model"] == ["o/base"]
    assert "2 models came from this machine" in card
    assert not re.search(r"^license", card, re.MULTILINE) or front_matter(card)["license"] == "mit"


def test_all_local():
    card = model_card(plan_of(DARE, commits=False), "x")
    assert set(front_matter(card)) == {"library_name", "license", "tags"}


def test_unused_base_is_no_parent():
    text = "merge_method: linear\nbase_model: o/base\nmodels: [{model: o/a}, {model: o/b}]\nparameters: {weight: 1}\n"
    card = model_card(plan_of(text), "x")
    assert front_matter(card)["base_model"] == ["o/a", "o/b"]
    assert "o/base]" not in card


def test_copies_are_not_called_computed():
    assert "Copied unchanged as BF16" in model_card(plan_of("merge_method: passthrough\nmodels: [{model: o/a}]\n"), "x")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_methods_paper_is_named(name: str):
    plan = plan_of(DARE)
    card = model_card(replace(plan, recipe=replace(plan.recipe, merge_method=name)), "x")
    assert METHODS[name].paper in card
