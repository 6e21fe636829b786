"""What the clean-up is told of releases: roles/registry/tasks/records.yml, beside a registry that knows tags."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook, assert_refused_or_taken
from tests.unit.servers import running


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


class Site:
    """A site whose registry holds the images in `tags`, and what it has on record: of several it is one host each."""

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

    def release(self, name: str, **more: Any) -> dict[str, Any]:
        """The variables of a host that is this site."""
        model, variables = more.pop("model", {}), more.pop("variables", {})
        release = {"name": name, "images": more, **({"model": model} if model else {})}
        about = {"site_folder": str(self.folder), "site_port": self.server.server_address[1]}
        return {**about, "edge_controller_dir": str(self.folder), "edge_release": release, **variables}

    def known(self) -> dict[str, set[str]]:
        records = [json.loads(path.read_text()) for path in self.records.glob("*.json")]
        return {one["name"]: {image["digest"] for image in one["images"].values()} for one in records}

    def in_force(self) -> list[str]:
        named: list[str] = json.loads((self.folder / "records/in-force.json").read_text())["releases"]
        return named


class Sites(dict[str, Site]):
    """Made where they are first named."""

    def __init__(self, folder: Path, servers: ExitStack) -> None:
        self.folder, self.servers = folder, servers

    def __missing__(self, name: str) -> Site:
        self[name] = site = Site(self.folder / name)
        self.servers.enter_context(running(site.server))
        return site

    def record(self, *options: str, **hosts: dict[str, Any]) -> str:
        """What ansible-playbook said of these sites, in one line."""
        # A variable of the role gives way to nothing less.
        given = {
            "ansible_python_interpreter": sys.executable,
            "registry_loopback_port": "{{ site_port }}",
            "registry_release_file": "{{ site_folder }}/site/group_vars/all/release.yml",
            "registry_state_dir": "{{ site_folder }}",
        }
        task = {"ansible.builtin.include_role": {"name": "edge.rack.registry", "tasks_from": "records"}}
        play, inventory = self.folder / "play.json", self.folder / "hosts.json"
        play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
        done = ansible_playbook("-i", inventory, "-c", "local", "-e", json.dumps(given), *options, play)
        return " ".join((done.stdout + done.stderr).split())


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with ExitStack() as servers:
        yield Sites(tmp_path_factory.mktemp("sites"), servers)


def test_what_a_release_needs_is_on_record_and_what_is_nowhere_is_refused(sites: Sites) -> None:
    new, waves, policy = (sites[name] for name in ("new", "waves", "policy"))
    new.tags = {"worker:0.2.0": digest("b")}
    before = {"name": "2026.11", "images": {"worker": {"tag": "0.1.0", "digest": digest("a")}}}
    waves.tags = {"worker:0.1.0": digest("a")}

    path = policy.folder / "site/group_vars/all/release.yml"
    path.parent.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", policy.folder / "site"], check=True)
    for name in ("a", "b", "c"):
        path.write_text(json.dumps({"edge_release": {"name": name, "images": {"worker": {"digest": digest(name)}}}}))
        if name != "c":  # which is about to be committed
            identity = ["-c", "user.name=alice", "-c", "user.email=alice@edge", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", "-C", path.parent, "add", "release.yml"], check=True)
            subprocess.run(["git", "-C", path.parent, *identity, "commit", "--quiet", "--message=" + name], check=True)
    half = {"edge_release_waves": {"wave_size": "50%", "pause_seconds": 9999}}

    said = sites.record(
        new=new.release("2026.12", worker={"tag": "0.2.0", "digest": digest("a")}),
        waves=waves.release(
            "2026.12",
            worker={"tag": "0.2.0", "digest": digest("b")},
            variables={"edge_rollout": {"before": before}},
        ),
        policy=policy.release("c", worker={"digest": digest("c")}, variables=half),
        nowhere=sites["nowhere"].release("2026.13", worker={"tag": "0.2.0"}),
    )
    assert_refused_or_taken(said, "nowhere", {"nowhere": "edge_release.images.worker of release 2026.13"})
    assert sites["nowhere"].known() == {}
    for name in ("new", "waves", "policy"):
        assert_refused_or_taken(said, name, {})
    # A new image is kept before its digest is pinned.
    assert (new.known(), new.in_force()) == ({"2026.12": {digest("a"), digest("b")}}, ["2026.12"])
    # What devices keep until their wave is open: of a rollout, and by the site's policy.
    assert waves.known() == {"2026.11": {digest("a")}, "2026.12": {digest("b")}}
    assert policy.known() == {name: {digest(name)} for name in ("a", "b", "c")}
    assert policy.in_force() == ["a", "b", "c"]


def test_check_mode_foresees_a_release_that_is_still_to_be_built(sites: Sites) -> None:
    said = sites.record("--check", check=sites["check"].release("2026.12", worker={"tag": "0.2.0"}))
    assert_refused_or_taken(said, "check", {})
    assert sites["check"].known() == {}


def test_a_name_that_is_used_twice_keeps_what_it_was_and_a_model_is_on_record_as_soon_as_it_is_published(
    sites: Sites,
) -> None:
    twice, model = sites["twice"], sites["model"]
    twice.tags = {"worker:0.1.0": digest("a"), "worker:0.1.1": digest("b")}
    model.tags = {"worker:0.1.0": digest("a")}
    # As edge.rack.train leaves it on the controller.
    (model.folder / "report").mkdir()
    (model.folder / "report/training.json").write_text(json.dumps({"model_digest": digest("c")}))
    old, new = {"tag": "0.1.0"}, {"tag": "0.1.1"}
    both = {
        "twice": twice.release("2026.11", worker=old),
        "model": model.release("2026.11", worker=old, model={"task": "digits"}),
    }
    sites.record(**both)
    assert twice.known() == model.known() == {"2026.11": {digest("a")}}

    model.tags[f"model:{'c' * 64}"] = digest("1")
    said = sites.record(**both)
    assert re.search(r" twice : ok=\d+ changed=0 ", said), said
    assert model.known() == {"2026.11": {digest("a"), digest("1")}}, "a release that gained its model is the same"

    model.tags[f"model:{'d' * 64}"] = digest("2")
    sites.record(
        twice=twice.release("2026.11", worker=new),
        model=model.release("2026.11", worker=old, model={"digest": digest("d")}),
    )
    (former,) = twice.known().keys() - {"2026.11"}
    assert former.startswith("2026.11@")
    assert twice.known() == {"2026.11": {digest("b")}, former: {digest("a")}}
    (former,) = model.known().keys() - {"2026.11"}
    assert model.known() == {"2026.11": {digest("a"), digest("2")}, former: {digest("a"), digest("1")}}
