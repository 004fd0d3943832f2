"""From a recipe's tokenizer block and the parents' tokenizers to the result's vocabulary and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from app.planning.ledger import listed
from app.planning.parents import Parents
from app.planning.strict_json import short
from app.planning.tokenizer_file import TOKENIZER, TokenizerFile, added_entries, read_tokenizer, write_tokenizer
from app.planning.tokenizers import TOKENIZER_FILES, agreement
from app.planning.vocabulary import Known, Row, Rules, Vocabulary, count_rows, join, number_tokens
from app.recipe.counted import counted
from app.recipe.findings import Finding, refuse
from app.recipe.roles import first_parent
from app.recipe.schema import ModelRef, Recipe, TokenizerSpec, TokenRule

_ONE_WAY = (
    "source: base keeps one way of cutting text; weightloom transplant-tokenizer gives a model the other's tokenizer, "
    "with a row for each of its tokens."
)


@dataclass(frozen=True, slots=True)
class NewTokenizer:
    """The owner's tokenizer.json with other tokens. ``added``: its added tokens; ``gone``: tokens of the owner that it
    lacks; ``retrained``: the model's own tokens are others, so that older vocabulary files do not tell them."""

    text: str
    added: Sequence[Mapping[str, Any]]
    gone: frozenset[str]
    retrained: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """``tokenizer`` None: the owner's stays as it is. ``known``: what is known of each parent's vocabulary."""

    vocabulary: Vocabulary
    known: Sequence[Known]
    tokenizer: NewTokenizer | None = None
    findings: Sequence[Finding] = field(default_factory=tuple)

    def new_ids(self, parent: int) -> dict[int, int]:
        """A parent's token ids -> the result's, where they differ."""
        mine, tokens = self.known[parent].file.tokens, self.vocabulary.tokens
        return {number: tokens[token] for token, number in mine.items() if tokens.get(token, number) != number}


def is_settled(recipe: Recipe, parents: Parents) -> bool:
    """Whether a tokenizer block asks for nothing: every vocabulary, and every matrix, is as it should be already."""
    spec = recipe.tokenizer
    if spec is None:
        return True
    if isinstance(spec.source, ModelRef) and spec.source != first_parent(recipe):
        return False
    rows = {one.shape[0] if one else 0 for one in parents.embeddings}
    multiple = spec.pad_to_multiple_of or 1
    alike = all(agreement(parents.facts[0], facts) == "same" for facts in parents.facts[1:])
    return alike and not spec.tokens and len(rows) == 1 and not any(count % multiple for count in rows)


def join_vocabularies(recipe: Recipe, spec: TokenizerSpec, parents: Parents) -> Joined:
    """Raises Refused when a tokenizer cannot be read or a rule cannot be followed."""
    place = "tokenizer_source" if spec.legacy else "tokenizer"
    owner = _owner(recipe, spec, parents, place)
    known, assumed = _read_all(parents, owner, place)
    others = [one for parent, one in enumerate(known) if parent != owner] if spec.source == "union" else []
    tokens = number_tokens(known[owner], others, map(str, spec.tokens))
    rules = Rules(
        parents.index(recipe.base_model) if recipe.base_model else None,
        MappingProxyType(dict(_explicit(spec, parents, known, tokens))),
        frozenset(tokens[str(token)] for token, rule in spec.tokens.items() if rule.force),
    )
    rows = count_rows(known[owner], tokens, spec.pad_to_multiple_of or 1)
    vocabulary = join(known, owner, tokens, rows, rules)
    tokenizer = _new_tokenizer(known[owner].file, tokens, [one.file for one in others])
    findings = [*assumed, *_remarks(parents, known, vocabulary, spec.source == "union", place)]
    return Joined(vocabulary, known, tokenizer, tuple(findings))


def _owner(recipe: Recipe, spec: TokenizerSpec, parents: Parents, place: str) -> int:
    if not isinstance(spec.source, ModelRef):
        return parents.index(first_parent(recipe))
    return _parent(parents, spec.source, place)


def _parent(parents: Parents, ref: ModelRef, place: str) -> int:
    if ref not in parents.refs:
        raise refuse(
            "tokenizer-not-supported", place, f"{ref} is none of the models merged here.",
            "Take the tokenizer and its rows from a model that is merged, or from the base.",
        )  # fmt: skip
    return parents.index(ref)


def _read_all(parents: Parents, owner: int, place: str) -> tuple[list[Known], list[Finding]]:
    """Every parent's tokens. One without a tokenizer, or with the owner's very files, is taken to have the owner's."""
    files = [read_tokenizer(facts.texts.get(TOKENIZER, "")) for facts in parents.facts]
    rows = [one.shape[0] if one else 0 for one in parents.embeddings]
    known, findings = [], []
    if not rows[owner]:
        text = f"{parents.name(owner)} has no embedding with a row for each token."
        raise refuse("tokenizer-not-supported", place, text, "Take the vocabulary from a model that has one.")
    for parent, facts in enumerate(parents.facts):
        file, who = files[parent], parents.name(parent)
        if file is None and not any(one.name in TOKENIZER_FILES for one in facts.files) and rows[parent] == rows[owner]:
            file = files[owner]
            text = f"{who} has no tokenizer: it is taken to have that of {parents.name(owner)}."
            findings.append(Finding("warning", "tokenizer-assumed", who, text))
        elif file is None and agreement(parents.facts[owner], facts) == "same":
            file = files[owner]
        if file is None:
            raise refuse(
                "tokenizer-not-supported", place, f"The vocabulary of {who} cannot be read: it has no tokenizer.json "
                "of a kind that is known (BPE, Unigram, WordPiece, WordLevel).",
                "Save its fast tokenizer beside the model, or leave the tokenizer key out.",
            )  # fmt: skip
        known.append(Known.of(file, rows[parent]))
    return known, findings


def _explicit(
    spec: TokenizerSpec, parents: Parents, known: Sequence[Known], tokens: Mapping[str, int]
) -> Iterator[tuple[int, tuple[Row, ...]]]:
    """The rows that the recipe names a source for."""
    for token, rule in spec.tokens.items():
        if rule.source is not None:
            yield tokens[str(token)], _source(str(token), rule, parents, known)


def _source(token: str, rule: TokenRule, parents: Parents, known: Sequence[Known]) -> tuple[Row, ...]:
    source = rule.source
    if source is None or source.model is None:
        return ()
    where = f"tokenizer.tokens.{short(token, 40)}"
    parent = _parent(parents, source.model, where)
    wanted = token if source.kind == "model" else source.token
    number = source.token_id if wanted is None else known[parent].tokens.get(wanted)
    if number is None or not 0 <= number < known[parent].rows:
        told = f"with the number {number}" if wanted is None else f'"{short(wanted, 40)}"'
        raise refuse(
            "no-such-token", where, f"{source.model} has no token {told} with a row of its own.",
            "Name a model that has it, or another token.",
        )  # fmt: skip
    return ((parent, number),)


def _new_tokenizer(
    owner: TokenizerFile, tokens: Mapping[str, int], others: Sequence[TokenizerFile]
) -> NewTokenizer | None:
    added = added_entries(owner, tokens, others)
    if owner.tokens == tokens and {entry["content"] for entry in added} == owner.added.keys():
        return None
    fresh = tokens.keys() - owner.tokens.keys()
    retrained = not owner.trained.keys() <= tokens.keys() or any(fresh & other.trained.keys() for other in others)
    gone = frozenset(owner.tokens.keys() - tokens.keys())
    return NewTokenizer(write_tokenizer(owner, tokens, others), added, gone, retrained)


def _remarks(parents: Parents, known: Sequence[Known], made: Vocabulary, union: bool, place: str) -> Iterator[Finding]:
    mine, who = known[made.owner], parents.name(made.owner)
    more = len(made.tokens) - len(mine.tokens)
    beside = f" and {counted(more, 'token')} more" if more else ""
    text = f"The result has the vocabulary of {who}{beside}: "
    text += f"{len(made.tokens)} tokens in {made.rows} rows."
    yield Finding("info", "vocabularies-joined", place, text)
    kinds = {parents.name(parent): _kind(one.file) for parent, one in enumerate(known)}
    strange = [name for name, kind in kinds.items() if kind != _kind(mine.file)]
    if union and strange:
        text = f"{listed(strange)} cuts text in another way than {who}: most of its tokens will never be used."
        yield Finding("warning", "tokenizer-kinds-differ", place, text, _ONE_WAY)
    for parent, one in enumerate(known):
        if len(one.tokens) < len(one.file.tokens):
            lost = [token for token in one.file.tokens if token not in one.tokens]
            text = f"{_quoted(lost)} of {parents.name(parent)} lie beyond its {one.rows} rows and do not count."
            yield Finding("info", "tokens-beyond-rows", parents.name(parent), text)
    nowhere = made.without_row()
    if nowhere:
        text = f"No parent has {_quoted(nowhere)}: a row of zeros is made for each."
        fix = "Name a source under tokenizer.tokens, such as a token with a like meaning (kind: model_token)."
        yield Finding("warning", "token-without-row", place, text, fix)


def _kind(file: TokenizerFile) -> tuple[str, bool]:
    """The model's type and whether spaces are spelled the way byte-level tokenizers do."""
    return file.kind, any(token.startswith("\u0120") for token in file.trained)


def _quoted(tokens: Sequence[str]) -> str:
    return listed([f'"{short(token, 40)}"' for token in tokens])
