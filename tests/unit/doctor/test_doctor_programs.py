# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's programs on this machine, given over the standard input as the playbook gives them."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.registry.front import Front, Request, serving

CHECKOUT = Path(__file__).resolve().parents[3]
FILES = CHECKOUT / "roles/doctor/files"


def asked(**questions: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-I", "-", json.dumps({"sent": 1, **questions})],
        input=(FILES / "machine.py").read_text(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def answering(request: Request) -> tuple[int, dict[str, str], bytes]:
    return 200 if request.account == "device-nuc-001:s3cret" else 401, {}, b"{}"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    files = ("-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    subprocess.run([*new, *files, *subject], capture_output=True, check=True)
    return tmp_path / "tls.crt"


@pytest.fixture
def front(certificate: Path) -> Iterator[Front]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with serving(answering, tls) as front:
        yield front


def test_a_machine_tells_of_itself() -> None:
    found = asked()
    assert found["clock"]["sent"] == 1
    assert found["clock"]["begun"] <= found["clock"]["ended"]
    assert found["uptime"] > 0
    assert 0 < found["memory"]["available_mib"] <= found["memory"]["total_mib"]
    assert found["disks"][0]["folder"] == "/"
    assert 0 <= found["disks"][0]["free_percent"] <= 100


def test_a_program_is_heard_however_it_ends(tmp_path: Path) -> None:
    found = asked(
        programs={"good": ["echo", "$HOME"], "bad": ["ls", str(tmp_path / "none")], "none": [str(tmp_path / "none")]}
    )["programs"]
    assert found["good"] == {"rc": 0, "stdout": "$HOME", "stderr": ""}
    assert found["bad"]["rc"] == 2
    assert "No such file" in found["bad"]["stderr"]
    assert found["none"] == {"error": "missing"}


def test_a_name_has_addresses_or_a_reason() -> None:
    found = asked(names=["localhost", "no-such-name.invalid"])["names"]
    assert set(found["localhost"]["addresses"]) & {"127.0.0.1", "::1"}
    assert found["no-such-name.invalid"]["error"]


def test_a_service_is_asked_with_the_machines_own_account_which_nobody_is_told(
    tmp_path: Path, front: Front, certificate: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    token = base64.b64encode(b"device-nuc-001:s3cret").decode()
    engine = tmp_path / "config.json"
    engine.write_text(json.dumps({"auths": {"registry:5000": {"auth": token}}}))
    service = {"url": f"{front.url}/v2/", "ca": str(certificate)}
    found = asked(
        services={
            "engine": {**service, "docker_config": str(engine), "registry": "registry:5000"},
            "unknown to the engine": {**service, "docker_config": str(engine), "registry": "other:5000"},
            "file": {**service, "account": "device-nuc-001", "password_file": str(password)},
            "another": {**service, "account": "device-nuc-002", "password_file": str(password)},
            "no file": {**service, "account": "device-nuc-001", "password_file": str(tmp_path / "none")},
        }
    )
    assert "s3cret" not in json.dumps(found)
    assert token not in json.dumps(found)
    found = found["services"]
    assert (found["engine"], found["file"], found["another"]) == ({"status": 200}, {"status": 200}, {"status": 401})
    assert {found[name]["kind"] for name in ("unknown to the engine", "no file")} == {"credential"}


def test_a_certificate_of_another_authority_is_told_from_a_port_that_is_closed(
    tmp_path: Path, front: Front, certificate: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    account = {"account": "device-nuc-001", "password_file": str(password)}
    system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    found = asked(
        services={
            "other": {**account, "url": front.url, "ca": system},
            "closed": {**account, "url": "https://127.0.0.1:1/", "ca": str(certificate)},
        }
    )["services"]
    assert (found["other"]["kind"], found["closed"]["kind"]) == ("certificate", "connection")
    assert "refused" in found["closed"]["error"]


def controller(collection: Path, *files: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-", str(collection), "/no/such/folder", *(files or ("requirements.txt", "requirements.yml"))],
        input=(FILES / "controller.py").read_text(),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_installed_here_is_what_the_collection_needs() -> None:
    found = controller(CHECKOUT)
    assert found["python_fits"]
    wanted = {one["name"] for one in found["libraries"] + found["collections"]}
    assert {"ansible-core", "python-libmaas", "docker", "community.docker", "community.crypto"} <= wanted
    assert [one for one in found["libraries"] + found["collections"] if not one["fits"]] == []
    assert found["disk"]["free_percent"] > 0


def test_the_dashboards_machine_needs_what_its_playbooks_do_and_no_more() -> None:
    found = controller(CHECKOUT, "roles/dashboard/files/requirements.txt", "")
    assert {one["name"] for one in found["libraries"]} == {"ansible-core", "python-libmaas", "setuptools"}
    assert found["collections"] == []


def test_what_is_missing_or_older_does_not_fit_and_what_is_newer_does(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/runtime.yml").write_text('requires_ansible: ">=2.17.0"\n')
    (tmp_path / "requirements.txt").write_text(
        "# why\nansible==1.0\nansible-core==1.0\npyyaml==999.0\nnone-such==1.0 # x\n"
    )
    (tmp_path / "requirements.yml").write_text("collections: [{name: community.docker, version: '>=0.1.0'}]\n")
    found = controller(tmp_path)
    fits = {one["name"]: one["fits"] for one in found["libraries"] + found["collections"]}
    assert fits == {"ansible-core": True, "pyyaml": False, "none-such": False, "community.docker": True}
    assert [one["installed"] for one in found["libraries"] if one["name"] == "none-such"] == [""]
