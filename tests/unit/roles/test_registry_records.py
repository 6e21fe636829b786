"""What the clean-up is told of releases: roles/registry/tasks/records.yml, beside a registry that knows tags."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

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
            "edge_release": release,
            "registry_loopback_port": self.server.server_address[1],
            "registry_state_dir": str(self.folder),
        }
        task = {"ansible.builtin.include_role": {"name": "edge.rack.registry", "tasks_from": "records"}}
        play = self.folder / "play.json"
        play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        return subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", json.dumps(variables), *options, str(play)],
            cwd=CHECKOUT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

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
