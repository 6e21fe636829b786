"""The whole path: from power-on to a served model, a second run, and what may go wrong on the way."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest

from lab import engine
from tests.e2e.rack import (
    CHECKOUT,
    DEVICES,
    REGISTRY_LOG,
    Lab,
    get,
    inventory,
    on_esxi,
    scripts,
)

SCRIPTS = ("edge-disk-health", "edge-memory", "edge-nic-speed")


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
    assert training["allreduce"]["bytes"] == training["allreduce_bytes"]
    assert training["allreduce"]["bus_bits_per_second"] > 0
    assert training["slowest_why"]


def test_the_jobs_record_is_on_the_controller(lab: Lab, first: dict[str, Any]) -> None:
    (file,) = lab.state.glob("jobs/*/job.json")
    record = json.loads(file.read_text())
    assert (record["job"], record["outcome"], record["message"]) == (file.parent.name, "done", "")
    assert record["result"]["model_digest"] == first["model_digest"]
    assert record["worker_image"] == first["images"]["worker"]["digest"]
    assert [worker["name"] for worker in record["workers"]] == [device["name"] for device in first["devices"]]
    events = [json.loads(line)["event"] for line in (file.parent / "progress.jsonl").read_text().splitlines()]
    assert events == ["links", "start", *["epoch"] * record["epochs"], "result"]
    names = [worker["name"] for worker in record["workers"]]
    assert [(link["from"], link["to"]) for link in record["result"]["links"]] == list(
        zip(names, [*names[1:], names[0]], strict=True)
    )
    assert all(link["bits_per_second"] > 0 for link in record["result"]["links"])
    assert (file.parent / "chart.svg").read_text().count("epoch 1:") == 3  # loss, accuracy, throughput


def test_images_are_known_and_run_by_digest(lab: Lab, first: dict[str, Any]) -> None:
    assert set(first["images"]) == {"worker", "predictor", "manager"}
    for image in first["images"].values():
        assert image["reference"].endswith(f"@{image['digest']}")
    running = lab.inside("nuc-001", "docker", "inspect", "--format", "{{.Config.Image}}", "edge-predictor").strip()
    assert running == first["images"]["predictor"]["reference"]


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


def test_devices_have_the_model_from_the_registry_by_their_own_account(lab: Lab, first: dict[str, Any]) -> None:
    digest = first["model_digest"]
    log = [json.loads(line) for line in lab.inside("registry", "cat", REGISTRY_LOG).splitlines()]
    asked = {line["user"]: line["status"] for line in log if line["uri"] == f"/v2/edge/model/blobs/{digest}"}
    # The first trainer wrote it.
    assert asked.get("device-nuc-002") == 200
    bundle = f"/var/lib/edge/models/{digest.removeprefix('sha256:')}.tar"
    for device in first["devices"]:
        assert lab.inside(device["name"], "stat", "--format=%U %a", bundle).strip() == "edge 640"


def test_the_clean_up_keeps_the_model_with_its_release(lab: Lab, first: dict[str, Any]) -> None:
    plan = json.loads(lab.inside("registry", "edge-registry-clean", "--plan", "--json"))
    rules = {tag: image["rules"] for image in plan["kept"] for tag in image["tags"]}
    assert "release 2026.11 (in force): model" in rules[first["model_digest"].removeprefix("sha256:")]


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


@pytest.mark.long
def test_check_mode_foresees_no_change_on_a_finished_rack(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.playbook("site.yml", "--check", "--diff")
    assert done.returncode == 0
    assert len(re.findall(r"changed=0 ", done.stdout)) == len(re.findall(r" changed=", done.stdout)) > DEVICES
