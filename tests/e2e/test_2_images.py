"""What the images are, and what a changed line of them costs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rack import (
    CHECKOUT,
    REGISTRY_LOG,
    Lab,
    bytes_out,
    in_image,
)


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


@pytest.mark.parametrize("name", ["worker", "predictor", "manager"])
def test_an_image_holds_no_credential_and_no_settings_of_pip(lab: Lab, first: dict[str, Any], name: str) -> None:
    reference = first["images"][name]["reference"]
    (seen,) = json.loads(lab.inside("nuc-001", "docker", "image", "inspect", reference))
    settings = {"manager": ["PATH", "PYTHONNODEBUGRANGES"]}.get(name, ["PATH"])
    assert sorted(variable.split("=")[0] for variable in seen["Config"]["Env"]) == settings
    suspicious = (
        "pip.conf", ".pip", ".netrc", "_netrc", ".pypirc", ".git-credentials", ".docker", ".config", "auth.json",
        "auth.conf", "id_rsa", "id_ed25519", "ssh_host_*_key", ".ssh", ".aws", "htpasswd", "*.key", ".bash_history",
    )  # fmt: skip
    names = [word for pattern in suspicious for word in ("-o", "-name", pattern)][1:]
    found = in_image(lab, reference, "find", "/", "-xdev", *names).splitlines()
    assert found == []
    history = lab.inside("nuc-001", "docker", "history", "--no-trunc", "--format={{.CreatedBy}}", reference)
    sources = in_image(
        lab, reference, "sh", "-c", "cat /etc/environment /etc/apt/sources.list /etc/apt/*.d/* 2>/dev/null"
    )
    assert "COPY" in history
    assert "deb" in sources
    for text in (history, sources):
        assert not re.search(r"index-url|://[^/\s]+@|passw(or)?d[=:]|token|secret", text, re.IGNORECASE)
    for secret in (lab.state / "secrets").iterdir():
        if secret.suffix != ".pub":
            assert secret.read_text().strip().splitlines()[-1] not in history


@pytest.mark.parametrize(
    ("name", "contents"), [("worker", {"torch", "horovod"}), ("predictor", {"onnxruntime"}), ("manager", {"docker"})]
)
def test_an_image_carries_its_bill_of_materials(lab: Lab, first: dict[str, Any], name: str, contents: set[str]) -> None:
    text = in_image(lab, first["images"][name]["reference"], "cat", "/opt/edge/share/sbom.cdx.json")
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {component["purl"].split("/")[0] for component in bill["components"]} == {"pkg:pypi", "pkg:deb"}
    assert contents | {"libc6"} <= {component["name"] for component in bill["components"]}
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert json.loads((lab.state / "report" / f"sbom-{name}.cdx.json").read_text()) == bill


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
