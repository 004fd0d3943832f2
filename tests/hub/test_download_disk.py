"""Downloads onto full, broken and forbidden disks."""

from __future__ import annotations

import errno
import os
import resource
import time
from types import SimpleNamespace

import pytest

from app.recipe.findings import Refused
from tests.hub.served_model import NAME, ServedModel, Stop
from tests.support.hub import StandInHub


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["ftruncate", "pwrite", "fsync"])
def test_a_full_disk_is_told_with_numbers(
    single: ServedModel, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(Refused) as refused:
            single.fetch()
    assert refused.value.findings[0].code == "disk-full"
    assert "bytes are still needed" in refused.value.findings[0].text
    assert refused.value.findings[0].where == NAME
    single.fetch_whole()


def test_a_real_limit_of_the_filesystem_is_met_before_the_download(single: ServedModel, hub: StandInHub) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        assert single.refusal() == "disk-full"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not hub.seen


def test_another_failure_of_the_disk_is_not_hidden(single: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        with pytest.raises(OSError, match="Input/output"):
            single.fetch()


def test_a_cache_that_cannot_be_written_is_told(single: ServedModel, hub: StandInHub) -> None:
    single.cache.write_text("not a folder")
    assert single.refusal() == "cache-not-writable"


def test_what_nobody_went_on_with_is_forgotten_in_the_end(single: ServedModel, hub: StandInHub) -> None:
    hub.fault("stall", NAME, after=500_000, times=None)
    with pytest.raises(Stop):
        single.fetch(check=single.after(500_000))
    (unfinished,) = (single.cache / "models--alice--model" / "blobs").iterdir()
    cache = single.client.cache
    assert cache.forget_unfinished(3600) == 0
    os.utime(unfinished, (time.time() - 7200, time.time() - 7200))
    assert cache.forget_unfinished(3600) >= 500_000
    assert single.blobs == set()
    hub.heal()
    single.fetch_whole()
    assert cache.forget_unfinished(-3600) == 0
    assert single.pointer.is_file()


def test_a_disk_with_too_little_room_is_told_before_the_download(
    single: ServedModel, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def little(fd: int) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=10, f_frsize=4096)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstatvfs", little)
        with pytest.raises(Refused, match="3,000,003 bytes are still needed, 40,960 are free") as refused:
            single.fetch()
    assert refused.value.findings[0].code == "disk-full"
    assert not hub.seen
    single.fetch_whole()
