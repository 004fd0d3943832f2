"""Downloading a checkpoint's files: whole, in parts, resumed by curl, and never anything else on the disk."""

from __future__ import annotations

import hashlib
import random
import subprocess
import time
from pathlib import Path

import httpx2
import psutil
import pytest
from starlette.testclient import TestClient

from app.db import Sessions
from app.jobs.models import Job
from app.jobs.store import NewJob, Store
from app.settings import Settings
from tests.support.waiting import until
from tests.web.artifacts import finished_job
from tests.web.server import WebServer
from tests.web.test_security import missing_headers

WEIGHTS = random.Random(1).randbytes(3_000_000)
FILES = {
    "model.safetensors": WEIGHTS,
    "config.json": b'{"model_type": "llama"}',
    "README.md": b"# <script>alert(1)</script>",
    "empty.txt": b"",
    "extra/tokens 100%.txt": b"below",
}


@pytest.fixture
def job(database: Sessions, settings: Settings) -> Job:
    return finished_job(database, settings, FILES)


def address(job: Job, name: str) -> str:
    return f"/api/jobs/{job.id}/files/{name}"


def test_every_file_as_its_manifest_says(client: TestClient, job: Job) -> None:
    for name, content in FILES.items():
        answer = client.get(address(job, name.replace(" ", "%20").replace("%.", "%25.")))
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "text/html" not in answer.headers["content-type"]
        assert missing_headers(answer.headers) == {}


def test_one_part_of_a_file(client: TestClient, job: Job) -> None:
    answer = client.get(address(job, "model.safetensors"), headers={"Range": "bytes=1000000-2000000"})
    assert (answer.status_code, answer.content) == (206, WEIGHTS[1_000_000:2_000_001])
    told = client.head(address(job, "model.safetensors"))
    assert (told.status_code, told.headers["content-length"], told.content) == (200, str(len(WEIGHTS)), b"")


def test_a_file_of_another_merge_is_sent_whole(client: TestClient, job: Job) -> None:
    """F37: what was fetched so far belongs to other bytes, so the rest of these would not fit."""
    headers = {"Range": "bytes=1000-", "If-Range": f'"{hashlib.sha256(b"older").hexdigest()}"'}
    answer = client.get(address(job, "model.safetensors"), headers=headers)
    assert (answer.status_code, len(answer.content)) == (200, len(WEIGHTS))


@pytest.mark.parametrize(
    "name",
    ["nothing", "MANIFEST.json", "", "%2e", "%2e%2e", "../../weightloom.sqlite", "..%2f..%2fweightloom.sqlite",
     "/etc/passwd", "//proc/self/root/etc/passwd", "model.safetensors/",
     "model.safetensors%00", "Model.safetensors", "extra", "link",
     "%2e%2e/%2e%2e/secret.key", "model.safetensors%23x", "x" * 5000],
)  # fmt: skip
def test_only_what_the_manifest_lists(client: TestClient, job: Job, settings: Settings, name: str) -> None:
    (settings.artifacts / job.id / "link").symlink_to("/etc/passwd")
    answer = client.get(address(job, name))
    assert (answer.status_code, answer.json()["findings"][0]["code"]) == (404, "not-found")


def test_a_listed_file_swapped_for_a_link_is_not_followed(client: TestClient, job: Job, settings: Settings) -> None:
    (settings.data / "secret").write_bytes(FILES["config.json"])
    path = settings.artifacts / job.id / "config.json"
    path.unlink()
    path.symlink_to(settings.data / "secret")
    answer = client.get(address(job, "config.json"))
    assert answer.status_code == 422
    assert answer.json()["findings"][0]["code"] == "no-such-file"


def test_a_job_without_a_checkpoint_has_no_files(client: TestClient, store: Store) -> None:
    waiting, _ = store.submit(NewJob("merge"))
    assert client.get(address(waiting, "model.safetensors")).status_code == 404
    assert client.get(f"/api/jobs/{'0' * 32}/files/model.safetensors").status_code == 404


@pytest.fixture
def server(settings: Settings, tmp_path: Path):
    server = WebServer(settings, tmp_path / "web.log")
    yield server
    server.stop()


def test_curl_goes_on_where_it_was_cut(server: WebServer, job: Job, tmp_path: Path) -> None:
    """F37: cut anywhere, ``curl -C -`` ends with the same bytes."""
    target = tmp_path / "got"
    for cut in (1, 4096, 1_048_576, 2_999_999):
        target.write_bytes(WEIGHTS[:cut])
        command = [
            "curl",
            "-sS",
            "--fail",
            "-C",
            "-",
            "-o",
            str(target),
            server.url + address(job, "model.safetensors"),
        ]
        subprocess.run(command, check=True, timeout=60)
        assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(WEIGHTS).digest()


def test_large_files_are_sent_fast_and_in_little_memory(
    server: WebServer, database: Sessions, settings: Settings
) -> None:
    """Four downloads of 256 MB at once, one of them read slowly: the memory of a few chunks each."""
    job = finished_job(database, settings, {"model.safetensors": b""})
    size = 256 << 20
    manifest = settings.artifacts / job.id / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace('"size": 0', f'"size": {size}'))
    with (settings.artifacts / job.id / "model.safetensors").open("wb") as file:
        file.truncate(size)
    url = server.url + address(job, "model.safetensors")
    process = psutil.Process(server.pid)
    httpx2.get(url, headers={"Range": "bytes=0-5000000"})
    before = process.memory_info().rss
    with httpx2.stream("GET", url) as slow:
        next(slow.iter_raw(1000))
        before_cpu = sum(process.cpu_times()[:2])
        curls = [subprocess.Popen(["curl", "-sS", "--fail", "-o", "/dev/null", url]) for _ in range(3)]
        peak = 0
        while any(one.poll() is None for one in curls):
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)
        took = sum(process.cpu_times()[:2]) - before_cpu
    assert [one.returncode for one in curls] == [0, 0, 0]
    assert peak - before < 64 << 20
    assert 3 * size / took > 50e6, "bytes in a second of the processor: what a busy machine cannot change"


def test_a_client_that_leaves_stops_the_sending(server: WebServer, database: Sessions, settings: Settings) -> None:
    job = finished_job(database, settings, {"model.safetensors": b""})
    size = 8 << 30
    manifest = settings.artifacts / job.id / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace('"size": 0', f'"size": {size}'))
    with (settings.artifacts / job.id / "model.safetensors").open("wb") as file:
        file.truncate(size)
    with httpx2.stream("GET", server.url + address(job, "model.safetensors")) as answer:
        next(answer.iter_raw(1000))
    process = psutil.Process(server.pid)
    until(lambda: not any("model.safetensors" in open_file.path for open_file in process.open_files()))
