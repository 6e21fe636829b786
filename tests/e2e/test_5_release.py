"""A release goes out in waves, waits where it is told to, stops itself and takes itself back."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import release
from lab.settings import from_environment
from tests.e2e.rack import CHECKOUT, Lab, until

# A worker under a predictor's name: it never answers as a predictor does.
NEVER_HEALTHY = """\
- hosts: control
  become: true
  gather_facts: false
  tasks:
    - edge.rack.registry_tag:
        registry_url: "{{ edge_registry }}"
        registry_username: "{{ docker_engine_registry_account.name }}"
        registry_password: "{{ docker_engine_registry_account.password }}"
        ca_path: "/etc/docker/certs.d/{{ edge_registry }}/ca.crt"
        repository: edge/predictor
        tag: "0.9.0"
        source: "0.1.0"
        source_repository: edge/worker
"""


class Operator:
    """Who releases, from the site's work tree."""

    def __init__(self, lab: Lab, site: Path) -> None:
        self.lab, self.site = lab, site

    def playbook(self, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        program = str(CHECKOUT / ".venv/bin/ansible-playbook")
        waves = ("-e", "rollout_wave_size=1", "-e", "rollout_pause_seconds=1")
        return self.lab.run(program, "-i", str(self.site / "inventory/lab"), f"playbooks/{name}.yml", *waves, *argv)

    def release(self, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.playbook("release", "-e", f"edge_release_name={name}", *argv)

    def git(self, *argv: str) -> str:
        command, environment = release.git_command(from_environment(self.lab.environment), *argv)
        return subprocess.run(
            command, cwd=self.site, env=environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip()

    def subjects(self, since: str) -> list[str]:
        """Of the commits on the control VM, the oldest first."""
        self.git("fetch", "--quiet", "origin")
        return self.git("log", "--reverse", "--format=%s", f"{since}..origin/main").splitlines()

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.lab.state / "report/release.json").read_text())
        return found

    def device(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lab.inside(name, "edge-converge", "status", "--json"))
        return found

    def predictor(self, name: str) -> str:
        """The container, which is another one after each replacement, and when it was started."""
        return self.lab.inside(name, "docker", "inspect", "--format={{.Id}} {{.State.StartedAt}}", "edge-predictor")

    def publish_another_model(self, like: str) -> str:
        """Digest of a model that says of itself that it was trained again."""
        models = self.lab.state / "models"
        content = io.BytesIO()
        with (
            tarfile.open(models / f"{like.removeprefix('sha256:')}.tar") as known,
            tarfile.open(fileobj=content, mode="w") as bundle,
        ):
            for member in known:
                file = known.extractfile(member)
                assert file
                text = file.read()
                if member.name == "manifest.json":
                    manifest = json.loads(text)
                    text = json.dumps({**manifest, "trained": {**manifest["trained"], "job": "again"}}).encode()
                member.size = len(text)
                bundle.addfile(member, io.BytesIO(text))
        name = hashlib.sha256(content.getvalue()).hexdigest()
        (models / f"{name}.tar").write_bytes(content.getvalue())
        assert self.playbook("publish_model", "-e", f"model_digest=sha256:{name}").returncode == 0
        return f"sha256:{name}"


@contextmanager
def asked(devices: list[dict[str, Any]]) -> Iterator[dict[str, list[str]]]:
    """All devices are asked for predictions without a pause: the digests of the models that answered, by device."""
    answers: dict[str, list[str]] = {device["name"]: [] for device in devices}
    ended = threading.Event()

    def ask(device: dict[str, Any]) -> None:
        url = f"http://{device['address']}:8480"
        with urllib.request.urlopen(f"{url}/samples", timeout=30) as answer:
            inputs = [one["input"] for one in json.load(answer)["samples"]]
        body = json.dumps({"instances": inputs}).encode()
        while not ended.wait(0.05):
            try:
                with urllib.request.urlopen(urllib.request.Request(f"{url}/predictions", body), timeout=30) as answer:
                    answers[device["name"]].append(json.load(answer)["model_digest"])
            except OSError as error:
                answers[device["name"]].append(f"{error!r}")

    threads = [threading.Thread(target=ask, args=[device]) for device in devices]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def other_model(operator: Operator, first: dict[str, Any]) -> str:
    return operator.publish_another_model(first["model_digest"])


@pytest.fixture(scope="module")
def operator(lab: Lab, first: dict[str, Any]) -> Operator:
    return Operator(lab, lab.state / "site")


def test_a_device_that_converges_by_itself_waits_for_its_wave_and_serves_its_model_without_a_stop(
    operator: Operator, first: dict[str, Any], other_model: str
) -> None:
    before = operator.device("nuc-002")["release"]
    predictors = [operator.predictor(name) for name in ("nuc-001", "nuc-002")]
    since = operator.git("rev-parse", "HEAD")
    unattended = ("-e", "rollout_unattended_enabled=true", "-e", "rollout_pause_seconds=86400")
    with asked(first["devices"]) as answers:
        done = operator.release("2027.01", *unattended, "-e", f"model_digest={other_model}")
        assert done.returncode == 0
        (subject,) = operator.subjects(since)
        assert subject.startswith("Release 2027.01: 2 waves, the last at ")
        for name in ("nuc-001", "nuc-002"):
            operator.lab.inside(name, "edge-converge", "now")
    assert set(answers["nuc-001"]) == {first["model_digest"], other_model}
    assert answers["nuc-001"][-1] == other_model
    assert set(answers["nuc-002"]) == {first["model_digest"]}
    assert [operator.predictor(name) for name in ("nuc-001", "nuc-002")] == predictors
    assert operator.device("nuc-001")["release"] == "2027.01"
    waits = operator.device("nuc-002")
    assert (waits["release"], waits["last"]["outcome"]) == (before, "ok")
    assert operator.lab.playbook("-i", str(operator.site / "inventory/lab"), "playbooks/status.yml").returncode == 0
    one, two = json.loads((operator.lab.state / "report/status.json").read_text())
    assert [(row["wave"], row["waves"], row["held"]) for row in (one, two)] == [(1, 2, False), (2, 2, True)]


def test_the_same_command_goes_on_with_what_is_under_way_and_a_second_operator_is_told_of_it(
    operator: Operator, first: dict[str, Any], other_model: str, tmp_path: Path
) -> None:
    since = operator.git("rev-parse", "HEAD")
    second = Operator(operator.lab, tmp_path / "site")
    shutil.copytree(operator.site, second.site, symlinks=True)
    with asked(first["devices"]) as answers, ThreadPoolExecutor() as pool:
        done = pool.submit(operator.release, "2027.01", "-e", f"model_digest={other_model}")
        while not second.subjects(since) and not done.done():
            time.sleep(0.5)
        refused = second.release("2027.05")
        assert done.result().returncode == 0
    assert refused.returncode == 2
    assert "somebody released meanwhile" in " ".join(refused.stdout.split())
    assert second.git("status", "--porcelain") == ""
    assert set(answers["nuc-001"]) == {other_model}
    assert set(answers["nuc-002"]) == {first["model_digest"], other_model}
    assert operator.subjects(since) == [
        "Release 2027.01: wave 1 of 2, 1 devices",
        "Release 2027.01: wave 2 of 2, 1 devices",
    ]
    assert {name: one["verdict"] for name, one in operator.report["devices"].items()} == {
        "nuc-001": "taken",
        "nuc-002": "taken",
    }
    assert operator.device("nuc-002")["release"] == "2027.01"


def test_a_bad_release_stops_itself_and_takes_itself_back(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "never_healthy.yml").write_text(NEVER_HEALTHY)
    assert operator.lab.playbook(str(tmp_path / "never_healthy.yml")).returncode == 0
    tags = ("-e", json.dumps({"rollout_tags": {"predictor": "0.9.0"}}))
    released = (operator.site / "inventory/lab/group_vars/all/release.yml").read_text()
    since = operator.git("rev-parse", "HEAD")
    # Under a name that was there it would be two things; nothing is written, nobody asked.
    done = operator.release("2027.01", *tags)
    assert done.returncode == 2
    assert "2027.01 was released before with other images" in " ".join(done.stdout.split())
    assert operator.git("status", "--porcelain") == ""

    untouched = operator.predictor("nuc-002")
    done = operator.release("2027.02", *tags)
    assert done.returncode == 2
    assert "2027.02 stopped in wave 1 of 2: 1 of 1 devices failed" in done.stdout
    assert "The site is back at 2027.01" in done.stdout
    assert operator.subjects(since) == [
        "Release 2027.02: wave 1 of 2, 1 devices",
        "Back to 2027.01: 2027.02 stopped in wave 1",
    ]
    assert (operator.site / "inventory/lab/group_vars/all/release.yml").read_text() == released
    for name in ("nuc-001", "nuc-002"):
        found = operator.device(name)
        assert found["release"] == "2027.01"
        assert until(lambda name=name: set(operator.device(name)["containers"].values()) == {"healthy"})
        assert set(found["containers"]) == {"edge-predictor", "edge-manager"}
    assert operator.predictor("nuc-002") == untouched
    assert operator.report["back"]["nuc-001"]["verdict"] == "taken"


def test_a_release_that_was_there_is_gone_back_to_by_its_name_and_a_device_that_was_off_follows(
    operator: Operator, first: dict[str, Any]
) -> None:
    done = operator.playbook("rollback")
    assert done.returncode == 2
    assert "edge_release_name is not given. Released were: 2027.01 (" in done.stdout
    with operator.lab.without_power("nuc-002"):
        done = operator.playbook("rollback", "-e", "edge_release_name=2026.12", "-e", "rollout_wave_size=100%")
        assert done.returncode == 0
        verdicts = {name: one["verdict"] for name, one in operator.report["devices"].items()}
        assert verdicts == {"nuc-001": "taken", "nuc-002": "away"}
    assert operator.device("nuc-002")["release"] == "2027.01"
    # What its timer starts some minutes after the boot.
    assert operator.lab.inside("nuc-002", "systemctl", "is-active", "edge-converge.timer").strip() == "active"
    operator.lab.inside("nuc-002", "edge-converge", "now")
    assert [operator.device(name)["release"] for name in ("nuc-001", "nuc-002")] == ["2026.12"] * 2
    for device in first["devices"]:
        with urllib.request.urlopen(f"http://{device['address']}:8480/healthz", timeout=30) as answer:
            assert json.load(answer)["model_digest"] == first["model_digest"]
