"""From a message to the end of a job: claim it, do its steps, write down how it ended."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.accounts.vault import Vault
from app.adapting.wanted import WantedExtract, WantedMerge
from app.comparing.wanted import Wanted
from app.db import Sessions, make_engine, sessions
from app.jobs.claim import Claim, LeaseLost
from app.jobs.events import Publisher
from app.jobs.models import Job
from app.jobs.pace import told
from app.jobs.queue import Queue
from app.jobs.store import Store
from app.library.facts import Library
from app.recipe.findings import Finding, Refused
from app.settings import Settings
from app.storage.comparisons import Comparisons
from app.storage.local import LocalArtifacts, read_manifest
from worker.compare.compare import compare
from worker.experts.making import make_mixture
from worker.explain import explain
from worker.lora.making import MadeAdapter, extracted, keep, merged
from worker.open_library import open_library
from worker.runner import Cancelled, HandedBack, Runner
from worker.steps.checkpoint import Order, make_checkpoint
from worker.steps.upload import upload
from worker.stopping import STOPPING

log = logging.getLogger(__name__)


class Workplace:
    """What a worker's process needs to do jobs. Everything is opened when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def sessions(self) -> Sessions:
        return sessions(make_engine(self.settings, durable=False))

    @cached_property
    def store(self) -> Store:
        return Store(self.sessions)

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.settings, self.store)

    @cached_property
    def publisher(self) -> Publisher:
        return Publisher(self.settings)

    @cached_property
    def vault(self) -> Vault:
        return Vault(self.settings, self.sessions)

    @cached_property
    def library(self) -> Library:
        return open_library(self.settings)

    @cached_property
    def artifacts(self) -> LocalArtifacts:
        return LocalArtifacts(self.settings.artifacts)

    @cached_property
    def comparisons(self) -> Comparisons:
        return Comparisons(self.settings.comparisons)

    def work(self, job: Job) -> Path:
        """The folder of a checkpoint in the making."""
        return self.settings.work / job.id

    def discard(self, job: Job) -> None:
        """Remove what a job has made so far."""
        shutil.rmtree(self.work(job), ignore_errors=True)
        if job.makes_files:
            self.artifacts.delete(job.id)
        elif job.kind == "compare":
            self.comparisons.delete(job.id)


def run_job(job_id: str, worker: str, place: Workplace) -> None:
    """Do the job if it is there to be done; return at once if not."""
    lease = place.settings.lease_seconds
    claim = Claim.take(place.sessions, job_id, worker=worker, pid=os.getpid(), lease=lease)
    if claim is None:
        log.info("job %s: nothing to do", job_id)
        return
    log.info("job %s: attempt %d, epoch %d", job_id, claim.job.attempt, claim.job.epoch)
    outcome = _do(claim, place)
    log.info("job %s: %s", job_id, outcome)
    place.publisher.line(job_id, "done")
    if claim.job.token_id is not None and outcome in ("succeeded", "failed", "cancelled"):
        place.vault.forget(claim.job.token_id)


def _do(claim: Claim, place: Workplace) -> str:
    """The work and its end. Returns the state that it led to, for the log."""
    job = claim.job
    try:
        with Runner(claim, place.publisher, STOPPING, place.settings.stall_seconds) as runner:
            result = WORK[job.kind](claim, runner, place)
        if not claim.succeed(result):
            raise Cancelled
    except HandedBack:
        if claim.release():
            place.queue.send(job.id, job.kind)
            return "handed back"
        return _cancel(claim, place)
    except Cancelled:
        return _cancel(claim, place)
    except LeaseLost:
        return "lost to another worker"
    except Refused as refused:
        return _fail(claim, place, refused.findings)
    except Exception as problem:
        log.exception("job %s broke", job.id)
        return _fail(claim, place, explain(problem))
    return "succeeded"


def _cancel(claim: Claim, place: Workplace) -> str:
    place.discard(claim.job)
    return "cancelled" if claim.stop() else "lost to another worker"


def _fail(claim: Claim, place: Workplace, findings: Sequence[Finding]) -> str:
    """Finished shards stay for another attempt, unless it was they that filled the disk."""
    if any(finding.code == "disk-full" for finding in findings):
        place.discard(claim.job)
    return "failed" if claim.fail(findings) else "lost to another worker"


def _merge(claim: Claim, runner: Runner, place: Workplace) -> Mapping[str, Any]:
    manifest = make_checkpoint(_order(claim.job, place), place.library, runner)
    return {"bytes": manifest.size, "files": len(manifest.files), **told(runner.took())}


def _mixture(claim: Claim, runner: Runner, place: Workplace) -> Mapping[str, Any]:
    manifest = make_mixture(_order(claim.job, place), place.library, runner)
    return {"bytes": manifest.size, "files": len(manifest.files)}


def _order(job: Job, place: Workplace) -> Order:
    return Order(
        recipe=job.pinned or job.recipe,
        work=place.work(job),
        final=place.settings.artifacts / job.id,
        title=job.title,
        seed=job.seed,
        token=_token(job, place),
        device=str(job.params.get("device") or "cpu"),
        asked=job.recipe,
        stream=bool(job.params.get("stream")),
        epoch=job.epoch,
        rates=place.store.rates(),
    )


def _upload(claim: Claim, runner: Runner, place: Workplace) -> Mapping[str, Any]:
    job = claim.job
    folder = place.settings.artifacts / str(job.source_job)
    return upload(folder, job.params, place.settings.hub_endpoint, place.vault.get(job.token_id or ""), runner)


def _compare(claim: Claim, runner: Runner, place: Workplace) -> Mapping[str, Any]:
    job = claim.job
    comparison = compare(Wanted.of_params(job.params), place.library, runner, token=_token(job, place))
    runner.enter("keeping", "Keeping the numbers.")
    place.comparisons.put(job.id, comparison)
    return {"tensors": len(comparison.tensors)}


def _merge_adapters(claim: Claim, runner: Runner, place: Workplace) -> Mapping[str, Any]:
    job = claim.job
    wanted, token = WantedMerge.of_params(job.params), _token(job, place)
    return _adapter(
        job, runner, place, lambda out: merged(wanted, place.library, runner, out, title=job.title, token=token)
    )  # fmt: skip


def _extract_lora(claim: Claim, runner: Runner, place: Workplace) -> Mapping[str, Any]:
    job = claim.job
    wanted, token = WantedExtract.of_params(job.params), _token(job, place)
    return _adapter(
        job, runner, place,
        lambda out: extracted(wanted, place.library, runner, out, title=job.title, token=token),
    )  # fmt: skip


def _adapter(job: Job, runner: Runner, place: Workplace, make: Callable[[Path], MadeAdapter]) -> Mapping[str, Any]:
    """``make`` gets the folder of the result. An attempt that ended between publishing and this is not done again."""
    final = place.settings.artifacts / job.id
    manifest = read_manifest(final)
    if manifest is None:
        made = make(final)
        runner.enter("finalising", "Publishing the result.")
        for line in made.lines:
            runner.log(line)
        runner.check()
        manifest = keep(made, place.work(job), final)
    return {"bytes": manifest.size, "files": len(manifest.files)}


def _token(job: Job, place: Workplace) -> str | None:
    return place.vault.get(job.token_id) if job.token_id else None


WORK: Mapping[str, Callable[[Claim, Runner, Workplace], Mapping[str, Any]]] = MappingProxyType(
    {
        "merge": _merge,
        "upload": _upload,
        "compare": _compare,
        "merge-adapters": _merge_adapters,
        "extract-lora": _extract_lora,
        "mixture": _mixture,
    }
)
