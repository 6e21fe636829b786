"""What each device is asked over HTTPS, in place of its Docker socket."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.rack import DEVICES, Lab, until


@dataclass(frozen=True)
class Manager:
    """The Device Manager of one device, as the controller asks it."""

    url: str
    token: str
    trusted: ssl.SSLContext

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120, context=self.trusted) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def json(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        code, said = self(method, path, body)
        return code, json.loads(said)


def manager(lab: Lab, device: dict[str, Any], token: str = "") -> Manager:
    return Manager(
        f"https://{device['address']}:8470",
        token or lab.inside(device["name"], "cat", "/etc/edge-manager/token").strip(),
        ssl.create_default_context(cafile=str(lab.state / "ca" / "ca.crt")),
    )


def test_a_device_says_how_it_is_to_who_has_its_token(lab: Lab, first: dict[str, Any]) -> None:
    tokens = set()
    for device in first["devices"]:
        ask = manager(lab, device)
        tokens.add(ask.token)
        # The engine says so when its first interval is over.
        assert until(lambda ask=ask: ask.json("GET", "/status")[1]["containers"]["predictor"]["health"] == "healthy")
        code, said = ask.json("GET", "/status")
        assert code == 200
        assert said["release"]["name"] == "2026.11"
        assert said["release"]["images"] == {name: image["digest"] for name, image in first["images"].items()}
        assert said["release"]["model"] == first["model_digest"]
        assert said["model"]["digest"] == first["model_digest"]
        predictor = said["containers"]["predictor"]
        assert predictor["state"] == "running"
        assert (predictor["managed"], predictor["released"]) == (True, True)
    # Each device has its own.
    assert len(tokens) == DEVICES
    code, said = manager(lab, first["devices"][0], max(tokens - {manager(lab, first["devices"][0]).token})).json(
        "GET", "/status"
    )
    assert (code, said["status"]) == (401, 401)


def test_the_predictor_is_restarted_and_its_words_are_read(lab: Lab, first: dict[str, Any]) -> None:
    ask = manager(lab, first["devices"][0])
    before = ask.json("GET", "/status")[1]["containers"]["predictor"]["started"]
    code, said = ask.json("POST", "/containers/predictor/restart")
    assert code == 200, said
    assert said["started"] > before
    code, words = ask("GET", "/containers/predictor/logs?tail=200")
    assert code == 200
    assert words


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"digest": f"sha256:{'0' * 64}"}, 403),
        ({"digest": "latest"}, 422),
        ({"digest": f"sha256:{'0' * 64}", "image": "debian"}, 422),
    ],
)
def test_what_was_not_released_is_not_served(lab: Lab, first: dict[str, Any], body: dict[str, Any], code: int) -> None:
    ask = manager(lab, first["devices"][0])
    assert ask.json("PUT", "/model", body)[0] == code
    assert ask.json("GET", "/model")[1]["digest"] == first["model_digest"]


def test_a_locked_device_is_left_alone(lab: Lab, first: dict[str, Any]) -> None:
    ask, name = manager(lab, first["devices"][1]), first["devices"][1]["name"]
    assert ask.json("PUT", "/lock", {"holder": "alice", "reason": "new disk"})[0] == 200
    try:
        code, said = ask.json("POST", "/containers/predictor/stop")
        assert code == 423
        assert "alice" in json.dumps(said)
        # Of another seed, and so not done yet.
        done = lab.playbook("playbooks/train.yml", "-e", "train_seed=5")
        assert done.returncode != 0
        assert f"{name} is locked and takes part in no training: alice" in " ".join(done.stdout.split())
    finally:
        assert ask("DELETE", "/lock")[0] == 204


def test_only_the_device_manager_holds_the_engines_socket(lab: Lab, first: dict[str, Any]) -> None:
    for device in first["devices"]:
        names = lab.inside(device["name"], "docker", "ps", "--format", "{{.Names}}").split()
        seen = json.loads(lab.inside(device["name"], "docker", "container", "inspect", *names))
        holders = [
            one["Name"] for one in seen if any(mount["Destination"].endswith("docker.sock") for mount in one["Mounts"])
        ]
        assert holders == ["/edge-manager"]
        assert not any(one["HostConfig"]["Privileged"] for one in seen)
