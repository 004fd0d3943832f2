"""Models on the Hub: which files a repository has, and pieces of them, from the cache where they are here already."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

from app.hub.client import HubClient, RepoInfo
from app.library.headers import Piece
from app.library.weight_files import CONFIG
from app.planning.facts import FileFacts


@dataclass(frozen=True)
class HubFiles:
    """The files of one commit, for ``read_model``."""

    hub: HubClient
    info: RepoInfo
    token: str | None
    pool: ThreadPoolExecutor

    @cached_property
    def files(self) -> Mapping[str, FileFacts]:
        return {file.name: file for file in self.info.files}

    def read(self, pieces: list[Piece]) -> list[bytes]:
        """All pieces side by side. Raises Refused."""
        return list(self.pool.map(self._read, pieces))

    def check_access(self) -> None:
        """Raises Refused (``gated``) unless this token may read the files.

        The Hub tells everybody about a gated model but gives its files only to some; what is known here of it, from
        somebody else's reading, must not be told to the others.
        """
        probe = CONFIG if CONFIG in self.files else next(iter(self.files), None)
        if self.info.gated and probe is not None:
            self.hub.read_range(self.info.id, self.info.commit, probe, 0, 1, self.token)

    def with_presence(self) -> tuple[FileFacts, ...]:
        """The files, each marked when its content is on this machine."""
        find = self.hub.cache.find
        return tuple(
            replace(file, present=find(self.info.id, self.info.commit, file) is not None) for file in self.info.files
        )

    def _read(self, piece: Piece) -> bytes:
        here = self.hub.cache.find(self.info.id, self.info.commit, self.files[piece.file])
        if here is None:
            return self.hub.read_range(
                self.info.id, self.info.commit, piece.file, piece.begin, piece.end, self.token
            )  # fmt: skip
        with here.open("rb") as file:
            file.seek(piece.begin)
            return file.read(piece.end - piece.begin)
