"""All that the builder page shows, computed before the template runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from app.drafts.models import SavedDraft
from app.drafts.store import NOT_SAVED, Saved
from app.planning.apart import plan_apart
from app.planning.facts import ModelFacts
from app.planning.name_parts import NamePart
from app.planning.plan import Plan
from app.planning.rates import roughly
from app.preflight import Preflight
from app.recipe.catalogue import Method
from app.recipe.counted import counted
from app.recipe.findings import Finding
from app.recipe.fixes import Fix, fixes
from app.recipe.form import FormView, view
from app.recipe.knobs import Knob
from app.recipe.method_groups import method_groups, paper_link
from app.recipe.naming import title_of
from app.recipe.presets import Preset, presets
from app.recipe.schema import ModelRef, Recipe
from app.web.pages.curve_desk import CurveDesk, curve_desk, plan_parts
from app.web.pages.draft import Draft
from app.web.pages.lettered import lettered
from app.web.pages.loom_rows import curve_picture, letters_of, loom_picture, other_pictures
from app.web.pages.method_view import method_picture
from app.web.pages.parent_cards import ParentCard, parent_cards
from app.web.pages.pictures import stack
from app.web.pages.pictures.curves import CurvePicture
from app.web.pages.pictures.loom import LoomPicture
from app.web.pages.pictures.method import MethodPicture
from app.web.pages.stack_desk import StackDesk, layer_counts, stack_desk
from app.web.pages.strip import Strip, draws_layers, strip
from app.web.rendering import byte_size

CANNOT_START, CANNOT_DO = "This merge cannot start yet", "This cannot be done"
_TOLD_AT_ONCE = 2
_ONLY_THE_BASE = Finding("info", "only-the-base", "", "This is only the base so far.", "Add a model to merge into it.")
_EMPTY_STEP = Finding("warning", "empty-document", "", "This merge has no models yet.", "Open it above and pick some.")


@dataclass(frozen=True, slots=True)
class Tile:
    value: str
    label: str


@dataclass(frozen=True)
class BuildPage:
    """The context ``build`` of ``pages/build.html`` and its partials.

    ``text`` is the recipe's YAML, the state of the page; ``waiting``: the models' headers are still to be read, a
    second request will; ``unsettled``: something is still being measured, and the page asks again; ``broken``: the YAML
    cannot be read, so there is no form; ``key`` makes a double click one job;
    ``stream``: no Hub model is to be stored; ``basis``: what the estimated time rests on;
    ``parts`` are what filters may say about the tensors' names, empty while these are not known; ``strip`` shows which
    of the recipe's documents the form is about;
    ``saved`` is the draft on this server that it is; ``offer`` one that an empty page offers to go on with.
    """

    text: str
    key: str
    title: str
    name: str
    form: FormView
    parents: tuple[ParentCard, ...]
    base_index: int | None
    waiting: bool
    unsettled: bool
    broken: bool
    reshaped: bool
    problems: Mapping[str, str]
    findings: tuple[Finding, ...]
    estimate: tuple[Tile, ...]
    basis: str
    loom: LoomPicture | None
    stacks: tuple[tuple[str, LoomPicture], ...]
    curves: CurvePicture | None
    desk: CurveDesk | None
    vectors: MethodPicture | None
    blocks: tuple[stack.Block, ...]
    stack: StackDesk
    parts: tuple[NamePart, ...]
    strip: Strip | None
    dtype: str
    seed: str
    refusal: tuple[Finding, ...] = ()
    refusal_title: str = CANNOT_START
    told: str = ""
    stream: bool = False
    saved: Saved = NOT_SAVED
    offer: SavedDraft | None = None
    fixes: Mapping[Finding, Sequence[Fix]] = field(default_factory=dict)
    method_groups: Sequence[tuple[str, list[Method]]] = field(default_factory=method_groups)
    starts: tuple[Preset, ...] = field(default_factory=presets)

    @property
    def method(self) -> Method:
        return self.form.method

    @property
    def shared(self) -> tuple[Knob, ...]:
        return tuple(one for one in self.form.shared if one.parameter.used and not one.parameter.advanced)

    @property
    def advanced(self) -> tuple[Knob, ...]:
        return tuple(one for one in self.form.shared if one.parameter.used and one.parameter.advanced)

    @property
    def view(self) -> str:
        """The view of the recipe that a new page opens with."""
        return "yaml" if self.broken else "stack" if self.stack.blocks else "blend"

    @property
    def takes_more(self) -> bool:
        return self.form.takes_more and not self.broken

    @property
    def stacked(self) -> bool:
        return self.form.stacked

    @property
    def paper_link(self) -> str:
        return paper_link(self.method.paper)

    @property
    def legend(self) -> tuple[ParentCard, ...]:
        """The parents that have threads in the loom, in the order of the threads in a cell."""
        return tuple(sorted(self.parents, key=lambda one: not one.letter))

    def lettered(self, text: str) -> Markup:
        """A remark about the parents, as short as the page that shows them allows."""
        return lettered(text, self.parents)

    @property
    def blend_title(self) -> str:
        if self.broken:
            return "The YAML cannot be read"
        return "Reading the models' headers" if self.waiting else "Not ready to weave"

    @property
    def blend_text(self) -> str:
        if self.broken:
            return "What is wrong is told under “Before you run”. Change it under YAML, or import another recipe."
        if self.waiting:
            return (
                "Names, shapes and sizes of every tensor, a few megabytes at most. The loom appears when they are in."
            )
        if self.in_the_way:
            more = sum(one.level == "error" for one in self.findings) - len(self.in_the_way)
            rest = f" {more} more under “Before you run”." if more else ""
            return f"The loom appears as soon as this is settled.{rest}"
        return "What is missing is told under “Before you run”. The loom appears as soon as recipe and models fit."

    @property
    def in_the_way(self) -> tuple[Finding, ...]:
        """The first problems of a recipe that cannot be drawn: they are told, and mended, where the loom would be."""
        if self.loom or self.waiting or self.broken:
            return ()
        return tuple(one for one in self.findings if one.level == "error")[:_TOLD_AT_ONCE]


def build_page(
    draft: Draft, key: str, *, checked: Preflight | None = None, refusal: tuple[Finding, ...] = (), told: str = ""
) -> BuildPage:
    """The page for a draft; ``checked`` is what its models' headers said, None while nobody has looked."""
    whole = draft.recipe or Recipe("linear")
    recipe = draft.shown or whole
    form = view(recipe, draft.remembered.order)
    plan, facts = _drawn(draft, checked)
    letters = letters_of(plan, form) if plan else []
    loom = loom_picture(plan, letters) if plan else None
    findings = _telling(checked.findings if checked else draft.findings, draft)
    return BuildPage(
        text=draft.text,
        key=key,
        title=title_of(whole),
        name=whole.name or "",
        form=form,
        parents=parent_cards(form, facts, {stage.name or "": at for at, stage in enumerate(whole.stages)}),
        base_index=next((one.index for one in form.parents if one.is_base), None),
        waiting=draft.recipe is not None and bool(whole.parents()) and checked is None,
        unsettled=checked is not None and checked.unsettled,
        broken=draft.broken,
        reshaped=draft.reshaped,
        problems={_field(finding): finding.text for finding in draft.problems if finding.where},
        findings=(*_homeless(draft.problems), *findings),
        estimate=_tiles(checked) if checked else (),
        basis=checked.estimate.basis if checked and checked.estimate else "",
        loom=loom,
        stacks=other_pictures(plan, letters) if plan else (),
        curves=curve_picture(plan, letters, loom) if plan and loom else None,
        desk=curve_desk(plan, form, loom) if plan and loom and _in_layers(draft, facts) else None,
        vectors=method_picture(form),
        blocks=stack.draw(recipe, {one.model: one.letter for one in form.parents}) if form.parents else (),
        stack=stack_desk(
            recipe, form, draft.remembered.counts(recipe) | layer_counts(facts), plan, draft.remembered.opened
        ),
        parts=plan_parts(plan) if plan and recipe.slices else (),
        strip=strip(draft.recipe, draft.section, facts) if draft.recipe and draft.section else None,
        dtype=recipe.dtype or "",
        seed="" if recipe.seed is None else str(recipe.seed),
        refusal=refusal or draft.refused,
        refusal_title=CANNOT_START if refusal else CANNOT_DO,
        told=told,
        stream=draft.remembered.stream,
        fixes=fixes(draft.text, findings),
    )


def _drawn(draft: Draft, checked: Preflight | None) -> tuple[Plan | None, Mapping[ModelRef, ModelFacts]]:
    """The plan of what the form shows, and what is known of all that goes in."""
    if checked is None:
        return None, {}
    if draft.recipe is None or draft.section is None or not draft.recipe.stages:
        return checked.plan, checked.facts
    return plan_apart(draft.recipe, draft.section.document, checked.facts)


def _in_layers(draft: Draft, facts: Mapping[ModelRef, ModelFacts]) -> bool:
    """Whether curves over the loom's layers are those of what the form shows."""
    if draft.recipe is None or draft.section is None:
        return True
    return draws_layers(draft.recipe.documents[draft.section.document], draft.section, facts)


def _telling(findings: tuple[Finding, ...], draft: Draft) -> tuple[Finding, ...]:
    """Nothing is wrong with a recipe in which nothing has been picked yet, or only the base."""
    if draft.recipe is None:
        return findings
    if not draft.recipe.parents():
        return ()
    empty = _EMPTY_STEP if draft.recipe.stages else _ONLY_THE_BASE
    nothing = "one-of-models-slices-modules"
    return tuple(replace(empty, where=one.where) if one.code == nothing else one for one in findings)


def _field(finding: Finding) -> str:
    return finding.where.partition("[")[0]


def _homeless(problems: Sequence[Finding]) -> tuple[Finding, ...]:
    """Remarks that no field of the form can show."""
    return tuple(one for one in problems if not _field(one).startswith(("parent.", "shared.", "slice.")))


def _tiles(checked: Preflight) -> tuple[Tile, ...]:
    if checked.plan is None or checked.estimate is None:
        return ()
    shards, cost = len(checked.plan.shards), checked.estimate
    return (
        Tile(byte_size(cost.output_bytes), f"result, {counted(shards, 'shard')}"),
        Tile(roughly(cost.seconds), "on this machine"),
        Tile(byte_size(cost.peak_memory_bytes), "peak memory"),
        Tile(byte_size(cost.download_bytes) if cost.download_bytes else "nothing", "to download"),
    )
