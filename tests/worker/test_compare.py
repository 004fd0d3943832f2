"""A comparison as a job: claimed, done, kept; cancelled without a trace; failed with the reason."""

from __future__ import annotations

from app.comparing.wanted import read_wanted
from app.storage.comparisons import Comparisons
from tests.worker.rig import Rig


def test_a_comparison_is_a_job_like_any_other(steady: Rig) -> None:
    kept = Comparisons(steady.settings.comparisons)
    for full in (False, True):
        wanted = read_wanted(["local:models/two"], "local:models/one", full=full)
        job = steady.ended(steady.submit("", kind="compare", params=wanted.as_params()))
        assert job.state == "succeeded", (job.error, steady.told())
        assert job.result == {"tensors": 75}
        assert (job.stage, job.tensors_done, job.tensors_total) == ("keeping", 75, 75)
        assert job.bytes_done == job.bytes_total
        told = kept.get(job.id)
        assert told is not None
        assert (told.models, told.base, told.full) == (("local:models/two",), "local:models/one", full)
        assert told.layers == tuple(range(8))


def test_what_stands_in_the_way_is_told(steady: Rig) -> None:
    params = read_wanted(["local:models/two"], "local:models/gone").as_params()
    job = steady.ended(steady.submit("", kind="compare", params=params))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error[0]["code"] == "model-not-found"
    again = steady.store.retry(job.id)
    assert again is not None
    assert steady.queue.send(again.id, again.kind)
    assert steady.ended(again).state == "failed"


def test_a_cancelled_comparison_leaves_nothing(steady: Rig) -> None:
    params = read_wanted(["local:models/two"], "local:models/one").as_params()
    job = steady.submit("", send=False, kind="compare", params=params)
    assert steady.store.request_cancel(job.id) is not None
    assert steady.queue.send(job.id, job.kind)
    assert steady.ended(job).state == "cancelled"
    assert Comparisons(steady.settings.comparisons).get(job.id) is None
