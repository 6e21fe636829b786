"""What the clean-up is told of releases: roles/registry/tasks/records.yml, beside a registry that knows tags."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


class Site:
    """A site whose registry holds the images in `tags`, and what it has on record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records" / "releases"
        self.records.mkdir(parents=True)
        self.tags: dict[str, str] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                known = site.tags.get(self.path.removeprefix("/v2/edge/").replace("/manifests/", ":"))
                self.send_response(200 if known else 404)
                if known:
                    self.send_header("Docker-Content-Digest", known)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def record(self, *options: str, **release: Any) -> str:
        """What ansible-playbook printed; it must have ended well."""
        done = self.run(*options, **release)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *options: str, **release: Any) -> subprocess.CompletedProcess[str]:
        variables = {
            "ansible_python_interpreter": sys.executable,
            "edge_controller_dir": str(self.folder),
            "edge_release": release,
            "registry_loopback_port": self.server.server_address[1],
            "registry_state_dir": str(self.folder),
        }
        task = {"ansible.builtin.include_role": {"name": "edge.rack.registry", "tasks_from": "records"}}
        play = self.folder / "play.json"
        play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        return ansible_playbook("-i", "localhost,", "-c", "local", "-e", json.dumps(variables), *options, play)

    def train(self, model: str) -> None:
        """As edge.rack.train leaves it on the controller."""
        (self.folder / "report").mkdir(exist_ok=True)
        (self.folder / "report" / "training.json").write_text(json.dumps({"model_digest": model}))

    def known(self) -> dict[str, set[str]]:
        records = [json.loads(path.read_text()) for path in self.records.glob("*.json")]
        return {one["name"]: {image["digest"] for image in one["images"].values()} for one in records}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.server.shutdown()
    site.server.server_close()


def test_a_new_image_is_kept_before_its_digest_is_pinned(site: Site) -> None:
    site.tags = {"worker:0.2.0": digest("b")}
    site.record(name="2026.12", images={"worker": {"tag": "0.2.0", "digest": digest("a")}})
    assert site.known() == {"2026.12": {digest("a"), digest("b")}}
    assert json.loads((site.folder / "records" / "in-force.json").read_text()) == {"releases": ["2026.12"]}


def test_what_devices_keep_until_their_wave_is_open_is_on_record_too(site: Site) -> None:
    before = {"name": "2026.11", "images": {"worker": {"tag": "0.1.0", "digest": digest("a")}}}
    rollout = json.dumps({"edge_rollout": {"before": before}})
    site.tags = {"worker:0.1.0": digest("a")}
    site.record("-e", rollout, name="2026.12", images={"worker": {"tag": "0.2.0", "digest": digest("b")}})
    assert site.known() == {"2026.11": {digest("a")}, "2026.12": {digest("b")}}


def test_by_the_sites_policy_the_committed_release_and_what_waits_for_it_are_on_record_too(site: Site) -> None:
    path = site.folder / "site/group_vars/all/release.yml"
    path.parent.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", site.folder / "site"], check=True)
    for name in ("a", "b", "c"):
        images = {"worker": {"digest": digest(name)}}
        path.write_text(json.dumps({"edge_release": {"name": name, "images": images}}))
        if name != "c":  # which is about to be committed
            identity = ["-c", "user.name=alice", "-c", "user.email=alice@edge", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", "-C", path.parent, "add", "release.yml"], check=True)
            subprocess.run(["git", "-C", path.parent, *identity, "commit", "--quiet", "--message=" + name], check=True)
    policy = {"edge_release_waves": {"wave_size": "50%", "pause_seconds": 9999}, "registry_release_file": str(path)}
    site.record("-e", json.dumps(policy), name="c", images=images)
    assert site.known() == {name: {digest(name)} for name in ("a", "b", "c")}
    assert json.loads((site.folder / "records/in-force.json").read_text()) == {"releases": ["a", "b", "c"]}


def test_a_name_that_is_used_twice_keeps_what_it_was(site: Site) -> None:
    site.tags = {"worker:0.1.0": digest("a"), "worker:0.1.1": digest("b")}
    site.record(name="2026.11", images={"worker": {"tag": "0.1.0"}})
    assert "changed=0" in site.record(name="2026.11", images={"worker": {"tag": "0.1.0"}})
    site.record(name="2026.11", images={"worker": {"tag": "0.1.1"}})
    (former,) = site.known().keys() - {"2026.11"}
    assert former.startswith("2026.11@")
    assert site.known() == {"2026.11": {digest("b")}, former: {digest("a")}}


def test_check_mode_foresees_a_release_that_is_still_to_be_built(site: Site) -> None:
    site.record("--check", name="2026.12", images={"worker": {"tag": "0.2.0"}})
    assert site.known() == {}


def test_a_release_of_an_image_that_is_nowhere_is_refused(site: Site) -> None:
    done = site.run(name="2026.12", images={"worker": {"tag": "0.2.0"}})
    assert done.returncode != 0
    assert "edge_release.images.worker of release 2026.12" in " ".join(done.stdout.split())
    assert site.known() == {}


def test_a_released_model_is_on_record_as_soon_as_it_is_published_and_the_one_before_it_stays(site: Site) -> None:
    images = {"worker": {"tag": "0.1.0"}}
    site.tags = {"worker:0.1.0": digest("a")}
    site.train(digest("c"))
    site.record(name="2026.11", images=images, model={"task": "digits"})
    assert site.known() == {"2026.11": {digest("a")}}
    site.tags[f"model:{'c' * 64}"] = digest("1")
    site.record(name="2026.11", images=images, model={"task": "digits"})
    assert site.known() == {"2026.11": {digest("a"), digest("1")}}, "a release that gained its model is the same"
    site.tags[f"model:{'d' * 64}"] = digest("2")
    site.record(name="2026.11", images=images, model={"digest": digest("d")})
    (former,) = site.known().keys() - {"2026.11"}
    assert site.known() == {"2026.11": {digest("a"), digest("2")}, former: {digest("a"), digest("1")}}
