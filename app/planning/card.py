"""The model card of a result: the README.md that the Hub shows. Says what was merged, how, and what is not known."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from app.planning.facts import ModelFacts
from app.planning.licences import common_licence
from app.planning.loading import DIFFUSERS, SAFETENSORS, library_of, with_diffusers, with_safetensors
from app.planning.pinning import pin
from app.planning.plan import Plan
from app.recipe.catalogue import METHODS, Method
from app.recipe.counted import counted
from app.recipe.references import is_hub_id
from app.recipe.schema import ModelRef

TAGS = ("merge", "mergekit", "weightloom")
_LIMITS = (
    "This model was not trained after merging, and nothing is claimed here about what it can do: try it on your own "
    "task before relying on it. It has the biases of its parents, and their licences go on applying."
)
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~])")


@dataclass(frozen=True, slots=True)
class _Parent:
    """A parent whose weights went in, by a name that means something elsewhere."""

    ref: ModelRef
    facts: ModelFacts

    @property
    def parts(self) -> list[tuple[ModelRef, ModelFacts]]:
        """The model, and the adapter on it if there is one."""
        adapter = (self.ref.adapter, self.facts.adapter)
        own = (self.ref, self.facts)
        return [own, (adapter[0], adapter[1])] if adapter[0] is not None and adapter[1] is not None else [own]

    @property
    def on_hub(self) -> bool:
        return all(is_on_hub(ref, facts) for ref, facts in self.parts)


def model_card(plan: Plan, name: str, *, recipe_text: str | None = None, licence: str | None = None) -> str:
    """Markdown with YAML front matter. ``name`` titles it; without ``recipe_text`` the plan's own recipe stands in it;
    without ``licence`` the one that all parents share, if there is one."""
    parents = _parents(plan)
    method = METHODS[plan.recipe.merge_method]
    text = plan.recipe_text if recipe_text is None else recipe_text
    licence = licence or common_licence({str(ref): facts for one in parents for ref, facts in one.parts})
    sections = [
        _front_matter(parents, licence, plan),
        f"# {plain(name) or 'Merged model'}",
        f"A merge of {counted(len(parents), 'model')}, made with Weightloom.",
        "## What went in",
        _table(parents, plan),
        "## How",
        _method(method, plan, parents),
        "The recipe:",
        fenced(text, "yaml"),
        "## How to load it",
        fenced(loading(plan), "python"),
        "## What is not known",
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _parents(plan: Plan) -> list[_Parent]:
    used = {one.parent for step in plan.steps() for one in step.read}
    refs = pin(plan.recipe, {}, None).parents()
    return [_Parent(ref, facts) for index, (ref, facts) in enumerate(zip(refs, plan.parents)) if index in used]  # noqa: B905  adapters follow


def _front_matter(parents: Sequence[_Parent], licence: str | None, plan: Plan) -> str:
    hub = list(dict.fromkeys(ref.name for one in parents for ref, facts in one.parts if is_on_hub(ref, facts)))
    library = library_of(_files(plan))
    return front_matter(hub, "merge", licence, TAGS, library if library != SAFETENSORS else None)


def front_matter(
    models: Sequence[str], relation: str, licence: str | None, tags: Sequence[str], library: str | None = "transformers"
) -> str:
    """What the Hub reads of a card. ``models``: Hub ids of what it was made from and by which ``relation``."""
    content: dict[str, Any] = {"base_model": list(models), "base_model_relation": relation} if models else {}
    content |= {"library_name": library} if library else {}
    content |= {"license": licence} if licence else {}
    content["tags"] = list(tags)
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=False, width=10_000)}---"


def _table(parents: Sequence[_Parent], plan: Plan) -> str:
    base = pin(plan.recipe, {}, None).base_model
    lines = ["| model | version | licence |", "|---|---|---|"]
    for one in parents:
        shown = " + ".join(_linked(ref, facts) for ref, facts in one.parts)
        role = " (base)" if one.ref == base and METHODS[plan.recipe.merge_method].base != "ignored" else ""
        version = " + ".join(version_told(ref, facts) for ref, facts in one.parts)
        licence = " + ".join(plain(facts.licence or "not known") for _, facts in one.parts)
        lines.append(f"| {shown}{role} | {version} | {licence} |")
    return "\n".join(lines)


def is_on_hub(ref: ModelRef, facts: ModelFacts) -> bool:
    return facts.commit is not None and is_hub_id(ref.name)


def _linked(ref: ModelRef, facts: ModelFacts) -> str:
    name = plain(ref.name)
    return f"[{name}](https://huggingface.co/{ref.name})" if is_on_hub(ref, facts) else name


def version_told(ref: ModelRef, facts: ModelFacts) -> str:
    here = "a local file" if ref.name.endswith(".safetensors") else "a local folder"
    return f"`{facts.commit}`" if facts.commit else plain(ref.revision or here)


def _method(method: Method, plan: Plan, parents: Sequence[_Parent]) -> str:
    dtypes = ", ".join(sorted({step.dtype for step in plan.steps()}))
    copied = all(step.method == "copy" for step in plan.steps())
    how = f"Copied unchanged as {dtypes}" if copied else f"Computed in 32-bit floats, written as {dtypes}"
    seeded = f"; random masks from seed {plan.seed}" if method.random else ""
    here = sum(not one.on_hub for one in parents)
    note = f" {counted(here, 'model')} came from this machine, so others cannot repeat this merge." if here else ""
    return "\n\n".join(
        [
            f"Method: **{method.title}** ({_paper(method.paper)}). {method.sentence}",
            f"`{method.formula}`",
            f"{how}; {plan.parameters:,} parameters{seeded}.{note}",
        ]
    )


def _paper(paper: str) -> str:
    if _ARXIV.fullmatch(paper):
        return f"[arXiv:{paper}](https://arxiv.org/abs/{paper})"
    return f"[{paper}](https://{paper})" if "." in paper.split("/")[0] else paper


def _files(plan: Plan) -> list[str]:
    """Names of the result's weights, and of what is written beside them."""
    return [*(shard.file for shard in plan.shards), *plan.texts]


def loading(plan: Plan) -> str:
    """Python that loads the result."""
    library = library_of(_files(plan))
    if library == SAFETENSORS:
        return with_safetensors(_files(plan), '"."')
    if library == DIFFUSERS:
        return with_diffusers('"."')
    classes = json.loads(plan.texts["config.json"]).get("architectures")
    named = [str(one) for one in classes] if isinstance(classes, list) else []
    loader = (
        "AutoModelForCausalLM" if any(one.endswith(("ForCausalLM", "LMHeadModel")) for one in named) else "AutoModel"
    )
    return (
        f"from transformers import {loader}, AutoTokenizer\n\n"
        'folder = "."  # this repository\'s name, or the folder it was downloaded to\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        f'model = {loader}.from_pretrained(folder, dtype="auto")\n'
    )


def fenced(text: str, language: str) -> str:
    """A code block that its content cannot end: the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def plain(text: str) -> str:
    """One line of text with nothing that Markdown or HTML would act on."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return _MARKDOWN.sub(r"\\\1", line.replace("&", "&amp;"))
