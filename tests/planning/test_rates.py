"""What a server has measured: medians that one odd merge does not move, and the words for what a time rests on."""

from __future__ import annotations

import pytest

from app.planning.rates import DOWNLOAD_RATE, GUESSED, LAST, SMALLEST_FETCH, Took, rates, roughly


def merge(factor: float, *, expected: float = 41.0, method: str = "linear") -> Took:
    return Took(method, expected, 1.0, seconds=factor * expected)


def fetch(rate: float, size: int = 10**9) -> Took:
    return Took("linear", 41.0, 1.0, fetched=size, fetching=size / rate)


def test_nothing_measured_is_a_guess_and_says_so() -> None:
    assert rates([]) == GUESSED
    assert (GUESSED.factor("ties"), GUESSED.download_rate) == (1.0, DOWNLOAD_RATE)
    assert GUESSED.basis("ties", fetches=False) == "a guess until this server has merged something"
    assert GUESSED.basis("ties", fetches=True).endswith("something; the download at 50 MB/s is a guess")


def test_one_merge_beside_a_busy_night_moves_nothing() -> None:
    found = rates([merge(1.9), merge(40), merge(2), merge(2.1), merge(2)])
    assert found.factor("linear") == pytest.approx(2)
    assert found.basis("linear", fetches=False) == "from the last 5 Linear (LERP) merges on this server"
    assert found.factor("slerp") == pytest.approx(2)
    assert found.basis("slerp", fetches=False) == "from the last 5 merges on this server"
    assert rates([merge(2)]).basis("slerp", fetches=False) == "from the last merge on this server"


def test_a_method_is_told_by_its_own_merges_once_there_are_enough() -> None:
    slow = [merge(5, method="ties")] * 3
    assert rates([*slow[:2], *[merge(1)] * 6]).factor("ties") == 1
    found = rates([*slow, *[merge(1)] * 6])
    assert (found.factor("ties"), found.factor("linear"), found.factor("slerp")) == (5, 1, 1)
    assert found.basis("ties", fetches=False) == "from the last 3 TIES merges on this server"


def test_small_merges_count_for_little() -> None:
    """A merge of a hundred megabytes is start and finish: three of them do not outweigh a large one."""
    assert rates([merge(3, expected=1.1)] * 3 + [merge(1.2)]).factor("slerp") == pytest.approx(1.2)
    assert rates([merge(3, expected=1.1)] * 2).factor("slerp") == pytest.approx(3)


def test_old_merges_are_forgotten() -> None:
    assert rates([merge(2)] * LAST + [merge(9)] * 3 * LAST).merging == rates([merge(2)] * LAST).merging


def test_downloads_are_told_by_large_ones() -> None:
    found = rates([fetch(8e6), fetch(9e6), fetch(90e6), fetch(1e3, SMALLEST_FETCH - 1)])
    assert found.download_rate == pytest.approx(9e6)
    assert found.merging is None, "a merge that waited for its files says nothing of merging"
    assert found.basis("ties", fetches=True) == (
        "a guess until this server has merged something; the download at 9 MB/s, from the last 3 downloads"
    )
    assert rates([fetch(1e5), merge(1)]).basis("ties", fetches=True) == (
        "from the last merge on this server; the download at less than 1 MB/s, from the last download"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "a few seconds"), (9, "a few seconds"), (12.4, "about 10 s"), (43, "about 45 s"), (57, "about 1 min"),
        (170, "about 3 min"), (1199, "about 20 min"), (1640, "about 25 min"), (3500, "about 1 h"),
        (3600, "about 1 h"), (8000, "about 2 h 15 min"), (90_000, "about 25 h"),
    ],
)  # fmt: skip
def test_a_guess_is_told_in_round_numbers(seconds: float, text: str) -> None:
    assert roughly(seconds) == text
