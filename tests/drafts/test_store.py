"""Drafts: saved as one goes, the last writer wins, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.db import make_engine, migrate, sessions
from app.drafts import store as module
from app.drafts.store import Drafts, Hold
from app.settings import Settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def drafts(tmp_path: Path) -> Iterator[Drafts]:
    settings = Settings(data=tmp_path)
    migrate(settings)
    engine = make_engine(settings)
    yield Drafts(sessions(engine), Clock())
    engine.dispose()


def text_of(drafts: Drafts, draft_id: str) -> str:
    row = drafts.get(draft_id)
    assert row is not None
    return row.text


def test_the_first_save_gives_an_address_and_later_ones_keep_it(drafts: Drafts) -> None:
    first = drafts.save(Hold("", 0, "tab"), "one", "One")
    second = drafts.save(Hold(first.id, first.version, "tab"), "two", "Two")
    assert len(first.id) == 16
    assert (second.id, second.version, second.clashed) == (first.id, 2, False)
    assert text_of(drafts, first.id) == "two"
    assert [one.title for one in drafts.newest()] == ["Two"]


def test_saving_what_is_there_already_changes_nothing(drafts: Drafts) -> None:
    first = drafts.save(Hold("", 0, "tab"), "one", "One")
    assert drafts.save(Hold(first.id, 1, "other"), "one", "One") == first


def test_the_last_of_two_pages_wins_and_is_told(drafts: Drafts) -> None:
    first = drafts.save(Hold("", 0, "a"), "one", "")
    theirs = drafts.save(Hold(first.id, 1, "b"), "theirs", "")
    assert not theirs.clashed
    assert drafts.overtaken(Hold(first.id, 1, "a"))
    assert not drafts.overtaken(Hold(first.id, 1, "b"))
    mine = drafts.save(Hold(first.id, 1, "a"), "mine", "")
    assert mine.clashed
    assert text_of(drafts, first.id) == "mine"
    assert not drafts.save(Hold(first.id, mine.version, "a"), "mine too", "").clashed


def test_an_answer_that_never_arrived_is_no_clash(drafts: Drafts) -> None:
    """A page that sends again before it heard of its own last save must not be told of another tab."""
    first = drafts.save(Hold("", 0, "a"), "one", "")
    drafts.save(Hold(first.id, 1, "a"), "two", "")
    assert not drafts.save(Hold(first.id, 1, "a"), "three", "").clashed


def test_what_was_written_over_can_be_had_back(drafts: Drafts) -> None:
    first = drafts.save(Hold("", 0, "a"), "one", "")
    drafts.save(Hold(first.id, 1, "b"), "theirs", "")
    drafts.save(Hold(first.id, 1, "a"), "mine", "")
    assert drafts.swap(first.id)
    assert text_of(drafts, first.id) == "theirs"
    assert drafts.swap(first.id)
    assert text_of(drafts, first.id) == "mine"
    assert not drafts.swap("nothing")


def test_a_draft_that_is_gone_is_saved_anew(drafts: Drafts) -> None:
    first = drafts.save(Hold("", 0, "a"), "one", "")
    drafts.remove(first.id)
    again = drafts.save(Hold(first.id, 1, "a"), "two", "")
    assert again.id != first.id
    assert text_of(drafts, again.id) == "two"


def test_the_oldest_make_room(drafts: Drafts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    for name in "abcde":
        drafts.save(Hold("", 0, name), name, name)
    assert [one.title for one in drafts.newest()] == ["e", "d", "c"]


def test_many_at_once_all_arrive(drafts: Drafts) -> None:
    first = drafts.save(Hold("", 0, "a"), "start", "")
    with ThreadPoolExecutor(6) as pool:
        saves = list(pool.map(lambda n: drafts.save(Hold(first.id, 1, f"tab{n}"), f"text {n}", ""), range(24)))
    assert sorted(one.version for one in saves) == list(range(2, 26))
