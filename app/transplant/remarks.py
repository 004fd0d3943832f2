"""What headers and tokenizers tell of a transplant before a weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.planning.chat_templates import chat_template_of
from app.planning.facts import MERGEABLE
from app.planning.layers import config_parts
from app.planning.ledger import listed
from app.planning.parents import Parents, token_embedding
from app.planning.strict_json import short
from app.planning.tokenizer_file import TOKENIZER, TokenizerFile
from app.planning.vocabulary import Known
from app.recipe.counted import counted
from app.recipe.findings import Finding
from app.transplant.matching import Match
from app.transplant.matrices import DONOR, MODEL
from app.transplant.special import NewIds, strangers
from app.transplant.spelling import Spelling
from app.transplant.wanted import WantedTransplant

_LITTLE = 0.3
"""Below this share of the donor's tokens in common, a warning."""
_LIMIT = (
    "Nothing is trained: with other tokens than it learnt from, a model is usually somewhat worse than before, in "
    "languages and code that it had other tokens for by far."
)
_SAVE = "Save its fast tokenizer beside the model: transformers writes tokenizer.json."


def unreadable(parents: Parents, files: tuple[TokenizerFile | None, ...]) -> Iterator[Finding]:
    """Errors that stand in the way of comparing the two vocabularies."""
    for parent, file in enumerate(files):
        who = parents.name(parent)
        if file is None:
            text = f"The vocabulary of {who} cannot be read: it has no {TOKENIZER} of a kind that is known (BPE, "
            yield Finding("error", "no-tokenizer", who, f"{text}Unigram, WordPiece, WordLevel).", _SAVE)
    model = parents.facts[MODEL]
    embedding = token_embedding(model)
    if embedding is None or embedding.dtype not in MERGEABLE:
        text = f"{model.ref} has no embedding with a row for each token."
        yield Finding("error", "no-embedding", parents.name(MODEL), text, "Choose a language model.")
    for path, part in config_parts(model.config):
        other = next((key for key in part if key.startswith("vocab_size_") and part[key]), None)
        if other is not None:
            text = (
                f"{model.ref} has a second vocabulary ({short('.'.join((*path, other)))}), which no tokenizer tells of."
            )
            yield Finding("error", "second-vocabulary", parents.name(MODEL), text, "Choose another model.")


def unfitting(wanted: WantedTransplant, parents: Parents, match: Match, ids: NewIds) -> Iterator[Finding]:
    """Errors that only the two vocabularies together show."""
    model, donor = map(parents.name, (MODEL, DONOR))
    in_place = all(own in (row, -1) for row, own in enumerate(match.own))
    if not match.fresh and in_place and match.rows == _rows(parents, MODEL):
        text = f"{model} has the tokenizer of {donor} already, with the same ids."
        yield Finding("error", "same-tokenizer", donor, text, "The two can be merged as they are.")
    lost = dict.fromkeys(strangers(parents.facts[MODEL].config, ids.moved))
    if lost:
        keys = listed([f"{key} {number}" for key, number in lost])
        text = f"{model} marks more than text with tokens that {donor} does not have: {keys}."
        fix = "Choose a donor with these tokens, or the language model without its other parts."
        yield Finding("error", "special-tokens-missing", model, text, fix)
    if wanted.by_donor and not _rows(parents, DONOR):
        text = f"{donor} has no embedding in which its tokens could be compared."
        yield Finding("error", "no-embedding", donor, text, "--approach subword needs the donor's tokenizer only.")
    elif wanted.by_donor and match.fresh and len(match.shared) < 2:
        text = f"{model} and {donor} have no tokens in common."
        yield Finding("error", "nothing-shared", "", text, "--approach subword needs none.")


def remarks(
    wanted: WantedTransplant, parents: Parents, known: tuple[Known, Known], match: Match, ids: NewIds
) -> Iterator[Finding]:
    """What is worth knowing where nothing stands in the way."""
    model, donor = map(parents.name, (MODEL, DONOR))
    share = match.kept / max(1, match.tokens)
    by = "omp or mean, as a check will show" if wanted.approach == "auto" else wanted.approach
    text = (
        f"Of the {match.tokens:,} tokens of {donor}, {match.kept:,} ({share:.0%}) are tokens of {model} too and keep "
    )
    text += f"its rows; {counted(len(match.fresh), 'row')} made by {by}."
    little = share < _LITTLE and bool(match.fresh)
    fix = "Expect a model that needs training before it is of use." if little else ""
    yield Finding("warning" if little else "info", "tokens-shared", "", text, fix)
    yield Finding("info", "vocabulary-changes", "", f"The vocabulary has {match.rows:,} rows, before it had "
                  f"{_rows(parents, MODEL):,}{_padding(match)}.")  # fmt: skip
    if match.by_role:
        pairs = [f'"{short(new, 40)}" for "{short(old, 40)}" ({role})' for role, (new, old) in match.by_role.items()]
        yield Finding("info", "tokens-by-role", "", f"Special tokens keep a row by what they are for: {listed(pairs)}.")
    if ids.lost:
        text = f"{donor} has no token for {listed(sorted(ids.lost))}, which the result leaves empty."
        yield Finding(
            "warning", "token-ids-lost", "config.json", text, "Set them in config.json and generation_config."
        )
    yield from _about_spelling(known, model, donor)
    yield _about_template(wanted, parents)
    yield Finding("info", "not-trained", "", _LIMIT, "A little training of embeddings and head brings much of it back.")


def _rows(parents: Parents, parent: int) -> int:
    embedding = parents.embeddings[parent]
    return embedding.shape[0] if embedding is not None and embedding.dtype in MERGEABLE else 0


def _padding(match: Match) -> str:
    more = match.rows - match.tokens
    return f"; {counted(more, 'row')} of padding get the mean of all" if more > 0 else ""


def _about_spelling(known: tuple[Known, Known], model: str, donor: str) -> Iterator[Finding]:
    words: Mapping[str, str] = {
        "bytes": "as letters for bytes", "pieces": "with ▁ for spaces", "words": "as whole words and their endings",
        "plain": "as it stands",
    }  # fmt: skip
    manners = [Spelling(one.file).manner for one in known]
    if manners[0] != manners[1]:
        text = f"{model} writes its tokens {words[manners[0]]}, {donor} {words[manners[1]]}: "
        yield Finding("info", "spelled-otherwise", "", f"{text}they are matched by the text they stand for.")


def _about_template(wanted: WantedTransplant, parents: Parents) -> Finding:
    mine, theirs = map(chat_template_of, parents.facts)
    model, donor = map(parents.name, (MODEL, DONOR))
    if wanted.chat_template == "donor" and theirs is None and mine is not None:
        text = f"The result has no chat template, since {donor} has none; {model} has one."
        fix = "--chat-template model keeps it: see that the donor's tokenizer knows the tokens it writes."
        return Finding("warning", "chat-template", "chat_template", text, fix)
    if wanted.chat_template == "donor":
        text = "Neither has a chat template." if theirs is None else f"The chat template is that of {donor}."
        if theirs is not None and mine is not None and mine.strip() != theirs.strip():
            text += f" It is not the one {model} learnt: --chat-template model keeps that."
        return Finding("info", "chat-template", "chat_template", text)
    whose = model if wanted.chat_template == "model" else wanted.chat_template
    return Finding("info", "chat-template", "chat_template", f"The chat template is that of {whose}.")
