"""A small cache: bounded by number or size, least recently used first out."""

from __future__ import annotations

import pytest

from app.hub.fading import Fading


class Maker:
    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, value: str) -> str:
        self.made.append(value)
        return value


@pytest.fixture
def maker() -> Maker:
    return Maker()


def test_the_least_recently_used_goes_first(maker: Maker) -> None:
    kept: Fading[str] = Fading(60, most=2)
    for key in "abacab":
        kept.get(key, lambda key=key: maker(key))
    assert maker.made == ["a", "b", "c", "b"]


def test_sizes_add_up(maker: Maker) -> None:
    kept: Fading[str] = Fading(60, most=10, size=len)
    for key in ("four", "five5", "four", "x", "six666", "x", "six666", "four"):
        kept.get(key, lambda key=key: maker(key))
    assert maker.made == ["four", "five5", "x", "six666", "four"]


def test_what_is_larger_than_all_is_kept_alone(maker: Maker) -> None:
    kept: Fading[str] = Fading(60, most=3, size=len)
    for key in ("ab", "far too large", "far too large", "ab"):
        kept.get(key, lambda key=key: maker(key))
    assert maker.made == ["ab", "far too large", "ab"]


def test_answers_fade_and_are_counted_once(monkeypatch: pytest.MonkeyPatch, maker: Maker) -> None:
    clock = [0.0]
    monkeypatch.setattr("app.hub.fading.time.monotonic", lambda: clock[0])
    kept: Fading[str] = Fading(10, most=6, size=len)
    for clock[0] in (0.0, 9.0, 11.0, 22.0):
        kept.get("abcd", lambda: maker("abcd"))
    kept.get("xy", lambda: maker("xy"))
    kept.get("abcd", lambda: maker("abcd"))
    assert maker.made == ["abcd", "abcd", "abcd", "xy"]


def test_failures_are_not_kept(maker: Maker) -> None:
    kept: Fading[str] = Fading(60, most=2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: str(1 / 0))
    assert kept.get("a", lambda: maker("a")) == "a"
