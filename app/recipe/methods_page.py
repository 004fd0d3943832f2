"""The methods as a Markdown page, from the catalogue and its notes. The pictures are files beside it."""

from __future__ import annotations

from collections.abc import Iterator

from app.recipe.catalogue import Method, Parameter
from app.recipe.method_groups import method_groups, paper_link
from app.recipe.method_notes import method_notes
from app.recipe.method_words import (
    base_words,
    curve_words,
    default_words,
    kind_words,
    parents_words,
    range_words,
    scope_words,
)

_INTRODUCTION = """# Merge methods

<!-- Written by `python -m app.web.docs` from app/recipe/catalogue.py and app/recipe/method_notes.toml. -->

Every method that a recipe can name as `merge_method`: what it does, when to use it, its formula, its parameters and its
limits. A running server shows the same on `/methods`, and asks three questions on `/guide` to name one for your models.
Merging is no sure thing: read the [limits](limits.md) first.

**Symbols.** *y* is the merged tensor, *xᵢ* are the parents, *b* is the base, *δᵢ* = *xᵢ* − *b* is a parent's change
(its task vector), *wᵢ* its weight, *ρᵢ* its density, *λ* is `lambda`; ⊙ multiplies entry by entry, [ ] is 1 where what
stands in it is true, else 0. Every tensor is merged for itself. All arithmetic is fp32.

**Pictures.** Arrows are whole tensors or changes, drawn in the plane. Bars are single weights' changes from the base:
solid ones go into the merge, pale ones are dropped, outlined ones lose the vote on signs. All are computed with the
formula beside.
"""


def methods_page() -> str:
    """The whole page as GitHub-flavoured Markdown."""
    parts = [_INTRODUCTION]
    groups = method_groups()
    for title, methods in groups:
        links = ", ".join(f"[{one.title}](#{anchor(one)})" for one in methods)
        parts.append(f"- **{title}:** {links}")
    parts[1:] = ["\n".join(parts[1:]) + "\n"]
    for title, methods in groups:
        parts.append(f"## {title}\n")
        parts += [_section(one) for one in methods]
    return "\n".join(parts)


def anchor(method: Method) -> str:
    """GitHub's anchor of a method's heading."""
    kept = "".join(one for one in method.title.lower() if one.isalnum() or one in " -_")
    return kept.replace(" ", "-")


def _section(method: Method) -> str:
    notes = method_notes()[method.name]
    link = paper_link(method.paper)
    paper = f"[{notes.paper}]({link})" if link else notes.paper
    identifier = f" (arXiv:{method.paper})" if "arxiv.org" in link else ""
    lines = [
        f"### {method.title}\n",
        f"`{method.name}`\n",
        f"{method.sentence}\n",
        f"**When:** {method.when}\n",
        f"![What {method.title} does](methods/{method.name}.svg)\n",
        *(f"```math\n{line}\n```\n" for line in notes.maths),
        f"{notes.means}\n",
        f"**Models:** {parents_words(method)}. **Base:** {base_words(method)}. **Paper:** {paper}{identifier}.\n",
        *_table(method),
        "**Limits.** " + " ".join(notes.limits) + "\n",
    ]
    return "\n".join(lines)


def _table(method: Method) -> Iterator[str]:
    if not method.parameters:
        yield "No parameters.\n"
        return
    yield "| parameter | kind | accepted | default | set for | curve | meaning |"
    yield "|---|---|---|---|---|---|---|"
    for one in method.parameters:
        yield f"| {' | '.join(_row(one))} |"
    yield ""


def _row(one: Parameter) -> tuple[str, ...]:
    return (
        f"`{one.name}`", kind_words(one), range_words(one), default_words(one), scope_words(one), curve_words(one),
        one.sentence,
    )  # fmt: skip
