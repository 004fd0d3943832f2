"""The library: every model that can be picked, wherever it lies, and what is known of it before its weights are read.

A reference means, in this order:

1. ``local:root/folder``: a folder in one of the opened roots, or a safetensors file in one.
2. On the command line only: a folder, or a safetensors file. ``./model``, ``../model``, ``/models/x`` and ``~/x``
   always mean one; a plain ``owner/name`` does when such a folder or file exists below the current one, which then
   wins over the Hub.
3. ``owner/name`` with an optional ``@revision``: a model on the Hub.

On the web there is no rule 2: what a server happens to have in its folders never stands in for a model on the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from app.hub.client import HubClient, ModelHit, RepoInfo, token_key
from app.hub.fading import Fading
from app.library.card import CARD, LONGEST, licence_and_bases
from app.library.distances import Distances
from app.library.headers import Contents, ModelFiles, Piece, read_adapter, read_model, read_text
from app.library.local import LocalFiles, LocalRoots, folder_of, weights_file
from app.library.remote import HubFiles
from app.planning.adapters import put_on
from app.planning.facts import FileFacts, ModelFacts
from app.planning.tokenizer_file import TOKENIZER
from app.recipe.findings import Finding, Refused, refuse
from app.recipe.references import COMMIT, is_hub_id, parse_reference
from app.recipe.schema import ModelRef

ASK_AGAIN = 60.0
"""Seconds after which the Hub is asked again what a branch stands for and whether a token may see it."""
_FOREVER = 30 * 24 * 3600.0
_MOST_KEPT = 150_000_000
"""Bytes of headers and small texts kept: hundreds of dense models, or twenty mixtures of 128 experts."""
_A_MODEL, _A_TENSOR = 50_000, 400
"""Bytes that a model's config takes, and one tensor's facts with its name and its place in the dicts."""
_ADDRESS = re.compile(r"https?://[^/]+/([\w.-]+/[\w.-]+)", re.ASCII)
Reader = Callable[[ModelFiles], Contents]
"""Reads what is known of a model, or of an adapter."""
_FOLDER = re.compile(r"\.{0,2}/|~|\.{1,2}$")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gives: local models first. ``findings`` say when the Hub could not be asked."""

    models: tuple[ModelHit, ...]
    findings: tuple[Finding, ...] = ()


class Library:
    """Facts, places and search. ``hub`` None: local models only. ``folder``: the command line's current folder.
    ``offline``: when the Hub cannot be reached, what its cache holds is taken instead. Not for servers with several
    people, since the Hub alone knows who may see what.

    Usable from many threads. What was read of a commit is kept for good, of a folder until a file in it changes;
    who may see a commit is asked with each token anew.
    """

    def __init__(
        self, hub: HubClient | None, roots: LocalRoots, folder: Path | None = None, *, offline: bool = False
    ) -> None:
        self.hub, self.roots, self._folder, self._offline = hub, roots, folder, offline
        self._infos: Fading[RepoInfo] = Fading(ASK_AGAIN, most=512)
        self._contents: Fading[Contents] = Fading(_FOREVER, most=_MOST_KEPT, size=_held)
        self._local_ids: Fading[tuple[FileFacts, ...]] = Fading(_FOREVER, most=64)
        self._tokenizers: Fading[str] = Fading(ASK_AGAIN * 10, most=8)
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="headers")
        self.distances = Distances()

    def close(self) -> None:
        self.distances.close()
        self._pool.shutdown(wait=False)
        if self.hub is not None:
            self.hub.close()

    def facts(self, ref: ModelRef, token: str | None = None) -> ModelFacts:
        """Config, tensors and files of a model, with its adapter on it if it has one. Raises Refused.

        ``where`` of a finding is the file or tensor if there is one, else the reference.
        """
        model = self._facts(replace(ref, adapter=None), token, read_model)
        if ref.adapter is None:
            return model
        return put_on(str(ref), model, self._facts(ref.adapter, token, read_adapter))

    def adapter(self, ref: ModelRef, token: str | None = None) -> ModelFacts:
        """Settings, tensors and files of an adapter on its own. Raises Refused likewise."""
        return self._facts(ref, token, read_adapter)

    def with_tokenizer(self, ref: ModelRef, facts: ModelFacts, token: str | None = None) -> ModelFacts:
        """The same facts with the text of tokenizer.json, where there is one. Raises Refused.

        Megabytes, so facts do not hold it: it is for recipes that join vocabularies.
        """
        file = next((one for one in facts.files if one.name == TOKENIZER), None)
        if TOKENIZER in facts.texts or file is None:
            return facts
        ref = ref.adapter if file.of_adapter and ref.adapter is not None else ref
        place = self._place(ref)
        try:
            source = self._local_files(ref, place) if place is not None else self._hub_files(ref, token)
            identity = source.fingerprint if isinstance(source, LocalFiles) else source.info.commit
            text = self._tokenizers.get((str(place or ref.name), identity), lambda: read_text(source, TOKENIZER))
        except Refused as refused:
            raise Refused(_of(ref, finding) for finding in refused.findings) from refused
        return replace(facts, texts={**facts.texts, TOKENIZER: text})

    def files(self, ref: ModelRef, token: str | None = None, pool: ThreadPoolExecutor | None = None) -> ModelFiles:
        """Where pieces of the model's files can be read from. ``pool``: reads them side by side. Raises Refused."""
        place = self._place(ref)
        if place is not None:
            return self._local_files(ref, place)
        source = self._hub_files(ref, token)
        return source if pool is None else replace(source, pool=pool)

    def folder(self, model: ModelRef | ModelFacts) -> Path:
        """Where the model's files lie, or will lie once they are fetched. Raises Refused.

        A Hub model needs its commit: facts, or a reference pinned by ``pin``. For facts, files whose content came
        with another commit are made visible in this one.
        """
        ref = parse_reference(model.ref) if isinstance(model, ModelFacts) else model
        place = self._place(ref)
        if place is not None:
            return folder_of(place)
        commit = model.commit if isinstance(model, ModelFacts) else ref.revision
        if commit is None or not COMMIT.fullmatch(commit):
            raise refuse("not-pinned", str(ref), f"{ref} does not name a commit.", "Read its facts first.")
        cache = self._hub(ref).cache
        for file in model.files if isinstance(model, ModelFacts) else ():
            if cache.find(ref.name, commit, file) is not None:
                cache.link(ref.name, commit, file)
        return cache.snapshot(ref.name, commit)

    def search(self, query: str, limit: int = 8, token: str | None = None, *, adapters: bool | None = None) -> Found:
        """Local models and Hub models whose name fits. Never raises: a Hub that cannot be asked is a finding.

        The address of a model's page finds that model. ``adapters``: only adapters, or none of them.
        """
        address = _ADDRESS.match(query.strip())
        query = address[1] if address else query
        words = query.lower().split()
        here = (one for one in self.roots.models().items() if all(word in one[0].lower() for word in words))
        fitting = [ModelHit(name, adapter=kind) for name, kind in here if adapters is None or kind == adapters]
        local = tuple(fitting[:limit])
        if self.hub is None or not words:
            return Found(local)
        try:
            return Found((*local, *self.hub.search(query, limit, token, adapters=adapters)))
        except Refused as refused:
            return Found(local, tuple(replace(finding, level="warning") for finding in refused.findings))

    def pin(self, ref: ModelRef, facts: ModelFacts) -> ModelRef:
        """The same reference at the commit that was read; a local folder has none."""
        adapter = self.pin(ref.adapter, facts.adapter) if ref.adapter and facts.adapter else ref.adapter
        return replace(ref, revision=facts.commit or ref.revision, adapter=adapter)

    def _facts(self, ref: ModelRef, token: str | None, read: Reader) -> ModelFacts:
        place = self._place(ref)
        try:
            return self._local_facts(ref, place, read) if place is not None else self._hub_facts(ref, token, read)
        except Refused as refused:
            raise Refused(_of(ref, finding) for finding in refused.findings) from refused

    def _place(self, ref: ModelRef) -> Path | None:
        """The folder or file a reference means; None for a model on the Hub. Raises Refused."""
        place: Path | None = None
        if ref.is_local:
            place = self.roots.resolve(ref.name)
        elif self._folder is not None:
            path = self._folder / Path(ref.name).expanduser()
            if path.is_dir():
                place = path.resolve()
            elif path.is_file():  # by its own name, which a cache may have made a link to another
                place = weights_file(path.parent.resolve() / path.name, str(ref))
        if place is not None and ref.revision is not None:
            raise refuse(
                "no-revisions", str(ref), f"{ref.name} is on this machine, where nothing has revisions.",
                f"Leave out @{ref.revision}.",
            )  # fmt: skip
        if place is None and (_FOLDER.match(ref.name) or not is_hub_id(ref.name)):
            raise self._no_such_folder(ref)
        return place

    def _no_such_folder(self, ref: ModelRef) -> Refused:
        if self._folder is not None:
            return refuse("model-not-found", str(ref), f"There is no folder or file {ref.name}.", "Check the path.")
        return refuse(
            "bad-reference", str(ref), f'"{ref.name}" is not a model reference.',
            "Write a Hub id (owner/model), or local:root/folder.",
        )  # fmt: skip

    def _hub(self, ref: ModelRef) -> HubClient:
        if self.hub is None:
            raise refuse(
                "no-hub", str(ref), "No Hub is set, so only local models can be used.", "Use local:root/folder."
            )
        return self.hub

    def _local_files(self, ref: ModelRef, place: Path) -> LocalFiles:
        return LocalFiles.of(place, inside=self.roots.root_of(ref.name) if ref.is_local else None)

    def _hub_files(self, ref: ModelRef, token: str | None) -> HubFiles:
        hub = self._hub(ref)
        info = self._infos.get((ref.name, ref.revision, token_key(token)), lambda: self._ask(hub, ref, token))
        return HubFiles(hub, info, token, self._pool)

    def _local_facts(self, ref: ModelRef, place: Path, read: Reader) -> ModelFacts:
        source = self._local_files(ref, place)
        contents = self._contents.get((read, str(place), source.fingerprint), lambda: read(source))
        card = source.read([Piece(CARD, 0, LONGEST)])[0] if CARD in source.files else b""
        licence, bases = licence_and_bases(card.decode("utf-8", errors="replace"))
        return ModelFacts(
            ref=str(ref),
            config=contents.config,
            tensors=contents.tensors,
            files=self._local_ids.get((str(place), source.fingerprint), source.with_content_ids),
            texts=contents.texts,
            folded=contents.folded,
            own_names=contents.own_names,
            licence=licence,
            base_models=bases,
        )

    def _hub_facts(self, ref: ModelRef, token: str | None, read: Reader) -> ModelFacts:
        files = self._hub_files(ref, token)
        source = files.info
        contents = self._contents.get((read, source.id, source.commit), lambda: read(files))
        return ModelFacts(
            ref=str(ref),
            config=contents.config,
            tensors=contents.tensors,
            files=files.with_presence(),
            commit=source.commit,
            texts=contents.texts,
            folded=contents.folded,
            own_names=contents.own_names,
            licence=source.licence,
            base_models=source.base_models,
            private=source.private,
            gated=source.gated,
            downloads=source.downloads,
            remarks=(_from_cache(ref, source),) if source.cached else (),
        )

    def _ask(self, hub: HubClient, ref: ModelRef, token: str | None) -> RepoInfo:
        try:
            info = hub.info(ref.name, ref.revision, token)
        except Refused as refused:
            cached = hub.cached_info(ref.name, ref.revision) if self._offline and _out_of_reach(refused) else None
            if cached is None:
                raise
            return cached
        HubFiles(hub, info, token, self._pool).check_access()
        return info


def _held(contents: Contents) -> int:
    """About how many bytes it takes to keep."""
    return _A_MODEL + _A_TENSOR * len(contents.tensors) + sum(map(len, contents.texts.values()))


def _out_of_reach(refused: Refused) -> bool:
    return any(finding.code == "hub-unreachable" for finding in refused.findings)


def _from_cache(ref: ModelRef, info: RepoInfo) -> Finding:
    return Finding(
        "info", "from-cache", str(ref), f"The Hub cannot be asked, so {ref} is what this machine's cache holds of it: "
        f"commit {info.commit[:12]}.", "The model may have changed on the Hub since.",
    )  # fmt: skip


def _of(ref: ModelRef, finding: Finding) -> Finding:
    """A finding about one file, told with the model it belongs to."""
    known = finding.where == str(ref) or ref.name in finding.where
    return finding if known else replace(finding, where=f"{ref}: {finding.where}" if finding.where else str(ref))
