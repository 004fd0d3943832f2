"""What is worth knowing before a merge beyond what makes it impossible: few remarks, each about all parents at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from app.planning.adapters import remarks
from app.planning.chat_templates import chat_template_of
from app.planning.facts import ModelFacts, TensorFacts
from app.planning.filters import idle_filters
from app.planning.layers import config_parts
from app.planning.ledger import listed
from app.planning.licences import check_licences
from app.planning.parents import DEEPEST, token_embedding
from app.planning.strict_json import depth, short
from app.planning.tokenizers import TOKENIZER_FILES, agreement, difference
from app.recipe.catalogue import METHODS, Method
from app.recipe.documents import told, used_stages
from app.recipe.findings import Finding
from app.recipe.requirements import check_requirements
from app.recipe.roles import first_parent
from app.recipe.schema import ModelRef, Recipe

_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
_BEHAVIOUR = (
    "num_attention_heads", "n_head", "num_key_value_heads", "head_dim", "rope_theta", "rope_scaling", "rope_parameters",
    "max_position_embeddings", "sliding_window", "layer_types", "hidden_act", "activation_function", "rms_norm_eps",
    "num_experts_per_tok", "attn_logit_softcapping", "final_logit_softcapping",
)  # fmt: skip
"""Settings that change what equal weights compute."""


def check(recipe: Recipe, facts: Mapping[ModelRef, ModelFacts]) -> tuple[Finding, ...]:
    """Remarks on the parents of a recipe. Errors only for what the recipe itself lacks; the plan finds the others."""
    method = METHODS.get(recipe.merge_method)
    refs = [ref for ref in recipe.parents() if ref in facts and depth(facts[ref].config) <= DEEPEST]
    if method is None or not refs:
        return ()
    models = _donor_first(recipe, {str(ref): facts[ref] for ref in refs})
    found: list[Finding] = [*_about(recipe, recipe, check_requirements(recipe, method))]
    if len(models) > 1:
        found += () if recipe.modules else _architecture(models)
        found += _tokenizers(recipe, models, facts)
        found += _settings(models)
        found += _dtypes(recipe, models)
        found += _identical(models)
    everyone = _with_adapters(refs, models, facts)
    found += check_licences(everyone)
    found += _lineage(recipe, method, facts)
    found += _access(everyone)
    found += [finding for ref in refs for finding in remarks(str(ref), facts[ref])]
    found += idle_filters(recipe, facts)
    return tuple(found)


def _about(document: Recipe, recipe: Recipe, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Remarks on one document, which they name where the recipe has several."""
    return told(findings, document) if recipe.stages else findings


Models = Mapping[str, ModelFacts]
"""Parents by the name people know them by, the donor of config and tokenizer first."""


def _donor_first(recipe: Recipe, models: Models) -> Models:
    donor = str(first_parent(recipe)) if any(recipe.sources()) else str(recipe.base_model or "")
    return {name: models[name] for name in sorted(models, key=lambda name: name != donor)}


def _with_adapters(refs: Sequence[ModelRef], models: Models, facts: Mapping[ModelRef, ModelFacts]) -> Models:
    """Models and adapters apart, each with its own licence and terms."""
    pairs = [(ref.adapter, facts[ref].adapter) for ref in refs]
    return {**models, **{str(ref): adapter for ref, adapter in pairs if ref is not None and adapter is not None}}


def _architecture(models: Models) -> Iterator[Finding]:
    """How many tensors are there in every parent with the same shape, and whether the configs name one class."""
    first, *others = (facts.tensors for facts in models.values())
    counts = {name: one.alike for tensors in (first, *others) for name, one in tensors.items()}
    every = sum(counts.values())
    alike = sum(counts[name] for name, one in first.items() if all(_same(one, other.get(name)) for other in others))
    kinds = {name: _kind(facts) for name, facts in models.items() if facts.config}
    if len(set(kinds.values())) > 1:
        each = "; ".join(f"{name}: {kind}" for name, kind in kinds.items())
        text = f"The parents are of different architectures ({each}); {alike} of {every} tensors line up."
        fix = "Expect a working result only if these differ in name alone."
        yield Finding("warning", "architectures-differ", "", text, fix)
    elif alike * 2 > every:
        what = "Same architecture" if kinds else "By name and shape"
        yield Finding("info", "same-architecture", "", f"{what}, {alike} of {every} tensors line up.")


def _same(one: TensorFacts, other: TensorFacts | None) -> bool:
    return other is not None and one.shape == other.shape


def _kind(facts: ModelFacts) -> str:
    listed_classes = facts.config.get("architectures")
    other = facts.config.get("model_type", facts.config.get("_class_name"))
    first = listed_classes[0] if isinstance(listed_classes, list) and listed_classes else other
    return short(first, 60) if isinstance(first, str) else "unknown"


def _tokenizers(recipe: Recipe, models: Models, facts: Mapping[ModelRef, ModelFacts]) -> list[Finding]:
    """Which of several documents mix tokens up; that all is well is told once, for all models together. A result whose
    vocabulary is its parents' joined counts for none here: what a later document does to it, the plan finds."""
    found = list(_vocabularies(recipe, models))
    if not recipe.stages:
        return found
    known = {ref: one for ref, one in facts.items() if depth(one.config) <= DEEPEST}
    mixed: list[Finding] = []
    for document in (*used_stages(recipe), recipe):
        own = {str(ref): known[ref] for ref in document.own_parents() if ref in known}
        if len(own) > 1:
            remarks_on_it = _vocabularies(document, _donor_first(document, own))
            mixed += _about(document, recipe, (one for one in remarks_on_it if one.level == "warning"))
        after = first_parent(document) if document.tokenizer is None and any(document.sources()) else None
        if after in known:
            known[ModelRef(document.name or "")] = known[after]
    return mixed or [one for one in found if one.level == "info"]


def _vocabularies(recipe: Recipe, models: Models) -> Iterator[Finding]:
    """Vocabularies and chat templates; nothing where the plan joins vocabularies, or refuses for the number of rows,
    and nothing of models without a config, whose rows stand for tokens that nobody knows."""
    models = {name: facts for name, facts in models.items() if facts.config}
    if recipe.tokenizer is not None or len(models) < 2:
        return
    (donor, first), *others = models.items()
    rows = {one.shape[0] for facts in models.values() if (one := token_embedding(facts)) is not None}
    if len(rows) > 1:
        return
    unlike = [(name, facts) for name, facts in others if agreement(first, facts) == "different"]
    unknown = [name for name, facts in others if agreement(first, facts) == "unknown" and _has_tokenizer(facts)]
    template = _template_remark(recipe, donor, models)
    if unlike:
        how = difference(first, unlike[0][1])
        text = f"The tokenizer of {listed([name for name, _ in unlike])} is not that of {donor}"
        text += f" ({how})." if how else "."
        fix = "Rows are merged by token id, so such tokens are mixed up. Use parents with one tokenizer, join the "
        fix += "vocabularies, or give one model the other's tokenizer first: weightloom transplant-tokenizer."
        yield Finding("warning", "tokenizers-differ", "", text + template, fix)
    elif unknown:
        text = f"Whether the tokenizer of {listed(unknown)} is that of {donor} cannot be told from here."
        yield Finding("info", "tokenizers-unknown", "", text + template)
    elif any(_has_tokenizer(facts) for facts in models.values()):
        yield Finding("info", "tokenizers-agree", "", "Tokenizers agree." + template)


def _has_tokenizer(facts: ModelFacts) -> bool:
    return any(file.name in TOKENIZER_FILES for file in facts.files)


def _template_remark(recipe: Recipe, donor: str, models: Models) -> str:
    if recipe.chat_template is not None:
        return ""
    templates = {chat_template_of(facts) for facts in models.values()}
    return (
        "" if templates == {None} or len(templates) == 1 else f" The chat templates differ; the result has {donor}'s."
    )


def _settings(models: Models) -> Iterator[Finding]:
    """Settings that differ although all weights may have the same shapes."""
    donor = next(iter(models))
    for code, keys, fix in (
        ("special-tokens-differ", _SPECIAL, "Check that the result stops where it should."),
        ("configs-differ", _BEHAVIOUR, "Weights trained with other settings may not work with these."),
    ):
        differing = []
        for key in keys:
            values = {name: _setting(facts, key) for name, facts in models.items()}
            other = next((name for name in values if values[name] != values[donor] and values[name] is not None), None)
            if other is not None and values[donor] is not None:
                differing.append(f"{key} {_brief(values[donor])} in {donor}, {_brief(values[other])} in {other}")
        if differing:
            text = f"The configs differ: {'; '.join(differing)}. The result takes {donor}'s."
            yield Finding("warning", code, "", text, fix)


def _setting(facts: ModelFacts, key: str) -> object:
    return next((part[key] for _, part in config_parts(facts.config) if part.get(key) is not None), None)


def _brief(value: object) -> str:
    if isinstance(value, dict | list):
        return "one value" if not isinstance(value, list) or len(value) > 4 else str(value)[:40]
    return short(str(value), 40)


def _dtypes(recipe: Recipe, models: Models) -> Iterator[Finding]:
    main = {name: facts.dtypes[0] for name, facts in models.items() if facts.dtypes}
    if len(set(main.values())) < 2 or recipe.dtype or recipe.out_dtype:
        return
    each = ", ".join(f"{name} {dtype}" for name, dtype in main.items())
    text = f"The parents are stored in different number formats ({each}); the result is written in the widest, "
    text += "which two half formats only meet in F32."
    yield Finding("info", "dtypes-differ", "dtype", text, "Set dtype: bfloat16 for a result of half the size.")


def _identical(models: Models) -> Iterator[Finding]:
    """Parents whose weight files are the same, byte for byte."""
    seen: dict[tuple[str, ...], str] = {}
    for name, facts in models.items():
        marks = _weight_marks(facts)
        if marks and marks in seen:
            text = f"{name} and {seen[marks]} have the same weights."
            yield Finding("warning", "same-weights", name, text, "One of them adds nothing: choose another parent.")
        seen.setdefault(marks, name)


def _weight_marks(facts: ModelFacts) -> tuple[str, ...]:
    """What identifies the content of the weight files; empty when that is not known."""
    weights = set(facts.weight_files)
    marks = [file.sha256 or file.oid or "" for file in facts.files if file.name in weights]
    if facts.adapter is not None and marks:
        marks += _weight_marks(facts.adapter) or ("",)
    return tuple(sorted(marks)) if marks and all(marks) else ()


def _lineage(recipe: Recipe, method: Method, facts: Mapping[ModelRef, ModelFacts]) -> Iterator[Finding]:
    """Whether deltas are taken from the model that the parents were made from, as far as their cards say."""
    base = recipe.base_model
    if not method.uses_deltas or base is None or base not in facts:
        return
    parents = [ref for ref in recipe.own_parents() if ref != base and ref in facts]
    named = {ref: [name.lower() for name in facts[ref].base_models] for ref in parents}
    kin = {base.name.lower(), *(name.lower() for name in facts[base].base_models)} if base in facts else set()
    silent = [str(ref) for ref in parents if not named[ref]]
    strange = [ref for ref in parents if named[ref] and not kin & set(named[ref])]
    if strange:
        others = ", ".join(f"{ref} names {facts[ref].base_models[0]}" for ref in strange)
        text = f"Not every parent's card names {base} as what it was made from: {others}."
        fix = "Changes taken from another base hold the difference of the two bases too."
        yield Finding("info", "lineage-differs", "base_model", text, fix)
    elif parents and not silent:
        yield Finding("info", "same-lineage", "base_model", f"All parents were made from {base}, say their cards.")
    elif silent:
        text = f"Whether {listed(silent)} {'was' if len(silent) == 1 else 'were'} made from {base} cannot be told "
        yield Finding("info", "lineage-unknown", "base_model", text + "from the cards.")


def _access(models: Models) -> Iterator[Finding]:
    gated = [name for name, facts in models.items() if facts.gated]
    private = [name for name, facts in models.items() if facts.private]
    if gated:
        text = f"{listed(gated)}: access is granted by the owner on request."
        yield Finding("info", "gated", "", text, "Its terms may bind the result too: read them before sharing it.")
    if private:
        text = f"{listed(private)}: private on the Hub, and the result holds its weights."
        yield Finding("info", "private", "", text, "Think of that before sharing the result.")
