"""The whole path on a rack of its own: from power-on to a served model, a second run, and what may go wrong.

The rack has its own name, network and state, so that a lab somebody is working in stays untouched.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import paramiko
import pytest

from lab import engine
from lab.oauth import authorization

CHECKOUT = Path(__file__).resolve().parents[2]
DEVICES = 2
DEADLINE_SECONDS = 1500
REGISTRY_LOG = "/var/log/nginx/edge-registry.log"
SCRIPTS = ("edge-disk-health", "edge-memory", "edge-nic-speed")


@dataclass(frozen=True)
class Lab:
    """A lab of the test's own."""

    state: Path
    environment: dict[str, str]

    def run(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command as a person in this lab would type it; its output is shown and returned."""
        done = subprocess.run(
            argv,
            cwd=CHECKOUT,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        print(f"$ {' '.join(argv)}  (status {done.returncode})\n{done.stdout[-6000:]}")
        return done

    def up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "lab", "up", **environment)

    def playbook(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(CHECKOUT / ".venv/bin/ansible-playbook"), "-i", "inventory/lab", *argv, **environment)

    @property
    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.state / "result.json").read_text())
        return value

    def inside(self, machine: str, *argv: str) -> str:
        """What a command prints in a machine of the rack."""
        url = engine.answering()
        assert url is not None
        with engine.connect(url) as client:
            return client.containers.get(f"edge-e2e-{machine}").exec_run(list(argv)).output.decode()


def get(url: str, context: ssl.SSLContext | None = None) -> Any:
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        return json.load(answer)


def inventory(lab: Lab) -> Any:
    """What MAAS says now, through the inventory plugin, without Ansible's marks at strings that are no templates."""
    marked = "__ansible_unsafe"
    return json.loads(
        subprocess.run(
            [CHECKOUT / ".venv/bin/ansible-inventory", "-i", "inventory/lab", "--list"],
            cwd=CHECKOUT,
            env={**os.environ, **lab.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout,
        object_hook=lambda found: found[marked] if set(found) == {marked} else found,
    )


def scripts(lab: Lab, machine: str) -> dict[str, str]:
    """How each script went that the machine was commissioned with."""
    system_id = inventory(lab)["_meta"]["hostvars"][machine]["maas_system_id"]
    key = (lab.state / "secrets" / "maas_api_key").read_text().strip().split(":")
    url = f"http://10.78.0.10:5240/MAAS/api/2.0/nodes/{system_id}/results/?type=commissioning"
    with urllib.request.urlopen(urllib.request.Request(url, headers=authorization(*key)), timeout=30) as answer:
        (newest, *_) = json.load(answer)
    return {result["name"]: result["status_name"] for result in newest["results"]}


def on_esxi(lab: Lab, command: str) -> str:
    """What a command prints on the rack's server."""
    kind, key = (lab.state / "esxi_host_key.pub").read_text().split()
    client = paramiko.SSHClient()
    client.get_host_keys().add("10.78.0.4", kind, paramiko.Ed25519Key(data=base64.b64decode(key)))
    password = (lab.state / "secrets" / "esxi_password").read_text().strip()
    client.connect("10.78.0.4", username="root", password=password, look_for_keys=False, allow_agent=False)
    with client:
        return client.exec_command(command)[1].read().decode()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    state = Path(tempfile.mkdtemp(prefix="edge-e2e-"))
    environment = {
        "LAB_NAME": "e2e",
        "LAB_SUBNET": "10.78.0.0/24",
        "LAB_DEVICES": str(DEVICES),
        "LAB_STATE": str(state),
        "ANSIBLE_NOCOLOR": "1",
    }
    lab = Lab(state, environment)
    yield lab
    lab.run(sys.executable, "-m", "lab", "down")
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="module")
def first(lab: Lab) -> dict[str, Any]:
    """The result of the first run."""
    done = lab.up()
    assert done.returncode == 0, "the first run failed; its output stands above"
    (lab.state / "first.log").write_text(done.stdout)
    return lab.result


@pytest.mark.parametrize("devices", ["0", "abc", "-1", "1000"])
def test_a_senseless_number_of_devices_is_refused(lab: Lab, devices: str) -> None:
    done = lab.up(LAB_DEVICES=devices)
    assert done.returncode == 1
    assert f"LAB_DEVICES='{devices}'" in done.stdout
    assert "make lab LAB_DEVICES=4" in done.stdout


def test_the_vms_were_made_on_the_free_edition(lab: Lab, first: dict[str, Any]) -> None:
    assert "free edition" in (lab.state / "first.log").read_text()
    vms = on_esxi(lab, "vim-cmd vmsvc/getallvms")
    for name in ("maas", "registry", "control"):
        assert f"[datastore1] {name}/{name}.vmx" in vms
        assert lab.inside(name, "cloud-init", "query", "cloud_id").strip() == "vmware"


def test_every_device_is_deployed_by_maas(first: dict[str, Any]) -> None:
    assert [device["name"] for device in first["devices"]] == ["nuc-001", "nuc-002"]
    assert {device["status"] for device in first["devices"]} == {"Deployed"}


def test_maas_is_set_up_for_the_rack(lab: Lab, first: dict[str, Any]) -> None:
    for name in ("nuc-001", "nuc-002"):
        host = inventory(lab)["_meta"]["hostvars"][name]
        assert (host["maas_pool"], host["maas_zone"]) == ("edge", "shelf-1")
        passed = scripts(lab, name)
        assert {script: passed[script] for script in SCRIPTS} == dict.fromkeys(SCRIPTS, "Passed")


def test_a_device_is_believed_by_the_key_it_reported_and_no_other(lab: Lab, first: dict[str, Any]) -> None:
    known = lab.state / "known_hosts_devices"
    text = known.read_text()
    reported = {}
    for device in first["devices"]:
        key = " ".join(lab.inside(device["name"], "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        (line,) = [line for line in text.splitlines() if line.endswith(key)]
        assert device["address"] in line.split(" ")[0].split(",")
        reported[device["name"]] = key
    # An impostor at the address of nuc-001. A connection that is open already would not ask for its key.
    ping = [str(CHECKOUT / ".venv/bin/ansible"), "-i", "inventory/lab", "nuc-001", "-m", "ansible.builtin.ping"]
    alone = {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o ControlPath=none"}
    assert lab.run(*ping, **alone).returncode == 0
    try:
        known.write_text(text.replace(reported["nuc-001"], reported["nuc-002"]))
        done = lab.run(*ping, **alone)
        assert done.returncode != 0
        assert "Host key verification failed" in done.stdout
    finally:
        known.write_text(text)


def test_all_ranks_trained_one_good_model(first: dict[str, Any]) -> None:
    training = first["training"]
    assert training["ranks"] == DEVICES
    assert training["hosts"] == ["nuc-001", "nuc-002"]
    assert training["accuracy"] >= 0.93
    assert training["held_out"] > 300
    assert len(training["parameter_hashes"]) == 1
    assert training["parameter_hash_by_rank"] == training["parameter_hashes"] * DEVICES
    assert training["loss_last"] < training["loss_first"] / 2
    assert training["versions"]["horovod"] == "0.28.1"
    # Two ranks send what the ring's formula says, and a little more for headers and coordination.
    formula, measured = training["wire_bytes_per_step"], training["wire_bytes_per_step_measured"]
    assert formula == training["allreduce_bytes"]
    assert formula <= measured < 1.2 * formula


def test_images_are_known_and_run_by_digest(lab: Lab, first: dict[str, Any]) -> None:
    assert set(first["images"]) == {"worker", "predictor"}
    for image in first["images"].values():
        assert image["reference"].endswith(f"@{image['digest']}")
    running = lab.inside("nuc-001", "docker", "inspect", "--format", "{{.Config.Image}}", "edge-predictor").strip()
    assert running == first["images"]["predictor"]["reference"]


def in_image(lab: Lab, reference: str, *argv: str) -> str:
    """What a command prints as root in a new container of this image, on a device."""
    run = ("docker", "run", "--rm", "--network=none", "--user=root", f"--entrypoint={argv[0]}", reference)
    return lab.inside("nuc-001", *run, *argv[1:])


@pytest.mark.parametrize("name", ["worker", "predictor"])
def test_an_image_says_what_it_is_and_runs_without_rights(lab: Lab, first: dict[str, Any], name: str) -> None:
    image = first["images"][name]
    (seen,) = json.loads(lab.inside("nuc-001", "docker", "image", "inspect", image["reference"]))
    label = {key.removeprefix("org.opencontainers.image."): text for key, text in seen["Config"]["Labels"].items()}
    assert (label["title"], label["version"]) == (f"edge {name}", image["tag"])
    assert label["licenses"] == "GPL-3.0-or-later"
    assert re.fullmatch(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}", label["revision"])
    assert label["created"] == seen["Created"]
    assert seen["Config"]["User"] == "edge"
    assert lab.inside("nuc-001", "docker", "run", "--rm", "--entrypoint=id", image["reference"], "-u").strip() == "8470"


@pytest.mark.parametrize("name", ["worker", "predictor"])
def test_an_image_holds_no_credential_and_no_settings_of_pip(lab: Lab, first: dict[str, Any], name: str) -> None:
    reference = first["images"][name]["reference"]
    (seen,) = json.loads(lab.inside("nuc-001", "docker", "image", "inspect", reference))
    assert [variable.split("=")[0] for variable in seen["Config"]["Env"]] == ["PATH"]
    suspicious = (
        "pip.conf", ".pip", ".netrc", "_netrc", ".pypirc", ".git-credentials", ".docker", ".config", "auth.json",
        "auth.conf", "id_rsa", "id_ed25519", "ssh_host_*_key", ".ssh", ".aws", "htpasswd", "*.key", ".bash_history",
    )  # fmt: skip
    names = [word for pattern in suspicious for word in ("-o", "-name", pattern)][1:]
    found = in_image(lab, reference, "find", "/", "-xdev", *names).splitlines()
    assert found == []
    history = lab.inside("nuc-001", "docker", "history", "--no-trunc", "--format={{.CreatedBy}}", reference)
    settings = in_image(
        lab, reference, "sh", "-c", "cat /etc/environment /etc/apt/sources.list /etc/apt/*.d/* 2>/dev/null"
    )
    assert "COPY" in history
    assert "deb" in settings
    for text in (history, settings):
        assert not re.search(r"index-url|://[^/\s]+@|passw(or)?d[=:]|token|secret", text, re.IGNORECASE)
    for secret in (lab.state / "secrets").iterdir():
        if secret.suffix != ".pub":
            assert secret.read_text().strip().splitlines()[-1] not in history


@pytest.mark.parametrize(("name", "contents"), [("worker", {"torch", "horovod"}), ("predictor", {"onnxruntime"})])
def test_an_image_carries_its_bill_of_materials(lab: Lab, first: dict[str, Any], name: str, contents: set[str]) -> None:
    text = in_image(lab, first["images"][name]["reference"], "cat", "/opt/edge/share/sbom.cdx.json")
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {component["purl"].split("/")[0] for component in bill["components"]} == {"pkg:pypi", "pkg:deb"}
    assert contents | {"libc6"} <= {component["name"] for component in bill["components"]}
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert json.loads((lab.state / "report" / f"sbom-{name}.cdx.json").read_text()) == bill


def test_every_device_predicts_with_the_trained_model(first: dict[str, Any]) -> None:
    assert first["prediction"]["devices_right"] == DEVICES
    assert first["prediction"]["value"] == first["prediction"]["truth"]
    for device in first["devices"]:
        samples = get(f"{device['predictor']}samples")["samples"]
        body = json.dumps({"instances": [sample["input"] for sample in samples]}).encode()
        request = urllib.request.Request(
            f"{device['predictor']}predictions", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            answer = json.load(reply)
        assert answer["model_digest"] == first["model_digest"]
        right = [p["label"] == s["truth"]["label"] for p, s in zip(answer["predictions"], samples, strict=True)]
        assert sum(right) >= 0.8 * len(right)


def test_the_job_leaves_no_worker_and_no_key_behind(lab: Lab, first: dict[str, Any]) -> None:
    for device in first["devices"]:
        assert "edge-worker" not in lab.inside(device["name"], "docker", "ps", "--all", "--format", "{{.Names}}")
        assert lab.inside(device["name"], "find", "/run/edge-jobs", "-type", "f") == ""


def test_the_registry_wants_tls_and_an_account(first: dict[str, Any], lab: Lab) -> None:
    url = first["addresses"]["registry"]
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(url)
    ours = ssl.create_default_context(cafile=str(lab.state / "ca" / "ca.crt"))
    with pytest.raises(urllib.error.HTTPError) as refusal:
        get(url, ours)
    assert refusal.value.code == 401
    with pytest.raises(urllib.error.HTTPError) as refusal:
        get(url.replace("https:", "http:"))
    assert refusal.value.code == 400


def test_no_secret_is_in_what_was_printed_or_reported(lab: Lab, first: dict[str, Any]) -> None:
    said = (lab.state / "first.log").read_text() + json.dumps(first)
    for secret in (lab.state / "secrets").iterdir():
        if secret.suffix == ".pub":
            continue
        for part in secret.read_text().strip().splitlines()[-2:]:
            assert part not in said, f"{secret.name} was printed"


def test_what_is_missing_in_maas_is_named_before_anything_changes(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.playbook("playbooks/enroll.yml", "-e", "enroll_expected_devices=9", "-e", "enroll_wait_seconds=3")
    assert done.returncode != 0
    assert "MAAS knows 2 of 9 devices after 3 s: nuc-001, nuc-002" in done.stdout
    done = lab.playbook("playbooks/enroll.yml", "-e", "enroll_image_name=custom/none")
    assert done.returncode != 0
    assert "custom/none" in done.stdout
    assert "custom/edge-nuc" in done.stdout


def test_a_release_that_names_no_image_is_refused(lab: Lab, first: dict[str, Any]) -> None:
    release = {"name": "none", "images": {"worker": {"tag": "9.9.9"}}, "model": {"task": "digits"}}
    done = lab.playbook("playbooks/train.yml", "-e", json.dumps({"edge_release": release}))
    assert done.returncode != 0
    assert "holds no edge/worker:9.9.9" in done.stdout


def test_a_wrong_key_is_told_from_a_maas_that_is_down(lab: Lab, first: dict[str, Any]) -> None:
    key_file = lab.state / "secrets" / "maas_api_key"
    key = key_file.read_text()
    try:
        key_file.write_text("wrong:wrong:wrong\n")
        done = lab.up()
        assert done.returncode == 1
        assert "maas_api_key" in done.stdout
        done = lab.playbook("playbooks/serve.yml")
        assert done.returncode != 0
        assert "maas_api_key" in done.stdout
    finally:
        key_file.write_text(key)
    url = engine.answering()
    assert url is not None
    with engine.connect(url) as client:
        client.containers.get("edge-e2e-maas").stop()
    done = lab.playbook("playbooks/serve.yml")
    assert done.returncode != 0
    assert "http://10.78.0.10:5240/MAAS cannot be reached" in done.stdout


def test_a_second_run_changes_nothing_though_maas_was_switched_off(lab: Lab, first: dict[str, Any]) -> None:
    # The ESXi host got a licence meanwhile: what was made over SSH is the same, seen through its API.
    done = lab.up(LAB_ESXI_EDITION="paid")
    assert done.returncode == 0
    again = lab.result
    assert again["changed"] == 0
    assert again["model_digest"] == first["model_digest"]
    assert again["training"] == first["training"]


def test_check_mode_foresees_no_change_on_a_finished_rack(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.playbook("site.yml", "--check", "--diff")
    assert done.returncode == 0
    assert len(re.findall(r"changed=0 ", done.stdout)) == len(re.findall(r" changed=", done.stdout)) > DEVICES


def bytes_out(lab: Lab, since: int) -> dict[str, int]:
    """What the registry has sent to each address since this line of its log."""
    sent: dict[str, int] = {}
    for line in lab.inside("registry", "tail", f"--lines=+{since + 1}", REGISTRY_LOG).splitlines():
        answer = json.loads(line)
        sent[answer["remote_addr"]] = sent.get(answer["remote_addr"], 0) + answer["bytes_sent"]
    return sent


def test_a_changed_line_costs_a_device_a_megabyte_at_most(lab: Lab, first: dict[str, Any], tmp_path: Path) -> None:
    sources = tmp_path / "training"
    shutil.copytree(CHECKOUT / "training", sources, ignore=shutil.ignore_patterns("wheels", "__pycache__"))
    with (sources / "edge_training" / "__init__.py").open("a") as file:
        file.write("CHANGED = True\n")
    images = ("playbooks/images.yml", "--limit=control")
    assert lab.playbook(*images, "-e", f"images_source_dir={sources}").returncode == 0
    changed = json.loads((lab.state / "report" / "images.json").read_text())
    since = int(lab.inside("registry", "wc", "--lines", REGISTRY_LOG).split()[0])
    for device in first["devices"]:
        for name, image in changed.items():
            assert image["digest"] != first["images"][name]["digest"]
            lab.inside(device["name"], "docker", "pull", image["reference"])
            said = in_image(lab, image["reference"], "python", "-c", "import edge_training as it; print(it.CHANGED)")
            assert said.strip() == "True"
    sent = bytes_out(lab, since)
    print(f"bytes on the wire: {sent}")
    for device in first["devices"]:
        assert 1_000 < sent[device["address"]] <= 1_000_000

    # The first sources again: built at another time, and the same to the bit.
    assert lab.playbook(*images).returncode == 0
    assert json.loads((lab.state / "report" / "images.json").read_text()) == first["images"]


def test_a_retired_device_is_wiped_and_forgotten(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.playbook("playbooks/retire.yml", "-e", "device=nuc-009")
    assert done.returncode != 0
    assert "MAAS knows no device nuc-009" in done.stdout
    done = lab.playbook("playbooks/retire.yml", "-e", "device=nuc-002")
    assert done.returncode == 0
    host = inventory(lab)["_meta"]["hostvars"]["nuc-002"]
    assert (host["maas_status"], host["maas_tags"]) == ("Ready", ["retired"])
    assert "nuc-002" not in (lab.state / "known_hosts_devices").read_text()
    url = engine.answering()
    assert url is not None
    with engine.connect(url) as client, pytest.raises(docker.errors.NotFound):
        client.containers.get("edge-e2e-nuc-002")
    # Nobody takes it back unasked, and nobody waits for it: the rack's expectation is still two devices.
    done = lab.playbook("playbooks/enroll.yml")
    assert done.returncode == 0
    assert "nuc-002: it is Ready, retired" in done.stdout
    assert inventory(lab)["_meta"]["hostvars"]["nuc-002"]["maas_status"] == "Ready"


def test_a_subnet_that_is_taken_is_refused(lab: Lab, first: dict[str, Any], tmp_path: Path) -> None:
    done = lab.up(LAB_NAME="other", LAB_STATE=str(tmp_path))
    assert done.returncode == 1
    assert "subnet 10.78.0.0/24 is taken: 10.78.0.0/24 is routed through br-edge-e2e" in done.stdout


def test_a_rack_does_not_shrink_or_move_by_itself(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.up(LAB_DEVICES="1")
    assert done.returncode == 1
    assert "the rack holds 2 devices and LAB_DEVICES=1" in done.stdout
    done = lab.up(LAB_SUBNET="10.79.0.0/24")
    assert done.returncode == 1
    assert "LAB_SUBNET says 10.79.0.0/24" in done.stdout


def test_down_removes_all_of_it(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.run(sys.executable, "-m", "lab", "down")
    assert done.returncode == 0
    assert not lab.state.exists()
    url = engine.answering()
    if url is not None:
        with engine.connect(url) as client:
            assert remains(client) == []


def remains(client: docker.DockerClient) -> list[str]:
    """What a lab of this name has left in the engine."""
    mine = {"label": "edge.lab=e2e"}
    return [
        *(container.name for container in client.containers.list(all=True, filters=mine)),
        *(network.name for network in client.networks.list(filters=mine)),
        *(volume.name for volume in client.volumes.list() if volume.name.startswith("edge-e2e-")),
        *(tag for image in client.images.list(filters=mine) for tag in image.tags),
    ]
