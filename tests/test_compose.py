"""docker-compose.yml and Dockerfile: valid by the compose specification, and as confined as they claim.

Nothing is started here: that takes a container engine.
"""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_file_is_valid_by_the_compose_specification():
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = {**COMPOSE, "services": {"web": {**SERVICES["web"], "read_onyl": True}}}
    assert [error.message for error in validator.iter_errors(broken)]


def test_the_services_are_the_four_and_the_database_is_by_choice():
    assert set(SERVICES) == {"web", "worker", "redis", "db"}
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["db"]
    assert SERVICES["db"]["profiles"] == ["postgres"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str):
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), "runs as a user that is not root"
    assert service["read_only"] is True
    assert service["tmpfs"], "has somewhere to write that is not its root"
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "/var/run/docker.sock" not in json.dumps(service["volumes"])


def test_only_the_web_is_published_and_only_to_this_machine():
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "web": ["127.0.0.1:8300:8300"]
    }
    assert not any(service.get("network_mode") for service in SERVICES.values())


def test_redis_and_the_database_are_on_a_network_without_a_way_out():
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert [SERVICES[name]["networks"] for name in ("redis", "db")] == [["inside"], ["inside"]]


def test_redis_keeps_messages_and_never_drops_a_key():
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--save": "", "--maxmemory-policy": "noeviction"}
    assert SERVICES["redis"]["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]


def test_a_stopped_worker_has_time_to_hand_its_job_back():
    from worker.celery_app import STOP_SECONDS

    worker = SERVICES["worker"]
    assert worker["stop_signal"] == "SIGTERM"
    assert int(worker["stop_grace_period"].removesuffix("s")) >= 2 * STOP_SECONDS


def test_the_settings_are_settings_and_an_unset_variable_means_the_default(monkeypatch: pytest.MonkeyPatch):
    known = {one.name for one in fields(Settings)}
    for name, value in SERVICES["web"]["environment"].items():
        assert name.removeprefix("WEIGHTLOOM_").lower() in known, name
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    settings = Settings(data=Path("/data"))
    assert settings.redis == "redis://redis:6379/0"
    assert settings.database == "sqlite:////data/weightloom.sqlite"
    assert settings.hub_endpoint == "https://huggingface.co"
    assert settings.model_roots == {}
    assert settings.allowed_hosts == ()


def test_what_the_commands_name_exists():
    web, worker = SERVICES["web"]["command"], SERVICES["worker"]["command"]
    module, _, factory = web[1].partition(":")
    assert callable(getattr(importlib.import_module(module), factory))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[worker[0]] == "worker.cli:main"
    check = SERVICES["worker"]["healthcheck"]["test"]
    assert importlib.util.find_spec(check[check.index("-m") + 1])
    from app.jobs.queue import QUEUES

    assert set(worker[worker.index("--queues") + 1].split(",")) == set(QUEUES.values())


def test_web_and_worker_share_the_data_and_the_image_puts_it_there():
    assert SERVICES["web"]["volumes"] == SERVICES["worker"]["volumes"] == ["data:/data", "cache:/cache"]
    assert {volume.partition(":")[0] for one in SERVICES.values() for volume in one["volumes"]} == set(
        COMPOSE["volumes"]
    )
    for line in ("WEIGHTLOOM_DATA=/data", "HF_HOME=/cache/huggingface", "NUMBA_CACHE_DIR=/cache/numba"):
        assert line in DOCKERFILE


def test_the_image_runs_as_the_same_user_with_pinned_dependencies():
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user == [SERVICES["web"]["user"]] == [SERVICES["worker"]["user"]]
    assert DOCKERFILE.rindex("USER ") > DOCKERFILE.rindex("RUN "), "nothing is run as root in the end"
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert installs
    assert all(line.startswith("--constraint constraints.txt ") for line in installs)
    pinned = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^torch==2\.13\.0$", pinned, re.MULTILINE)
    assert "torch==2.13.0" in DOCKERFILE


def test_everything_the_image_copies_is_let_through_and_nothing_else():
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
