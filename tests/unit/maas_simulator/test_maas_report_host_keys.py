"""roles/enroll/files/report-host-keys against the region: what MAAS then knows, and what is said when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from maas_region import HTTP, Region, serve, settings

CHECKOUT = Path(__file__).resolve().parents[3]
SCRIPT = CHECKOUT / "roles/enroll/files/report-host-keys"
STAND_IN = Path(__file__).parent / "cloud_init_stand_in"
MAC = "52:54:00:00:00:01"
KEYS = {"ed25519": "ssh-ed25519 AAAAC3Nz+a/b", "rsa": "ssh-rsa AAAAB3Nz=="}


def _machine(tmp_path: Path, region: Region, url: str = "") -> str:
    """A deploying machine with host keys, and cloud-init's configuration as MAAS's installer writes it."""
    system_id = region.ready("nuc", MAC)
    region.upload("custom/edge-nuc", b"image", "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d")
    deployed = region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "edge-nuc"})
    assert deployed.status_code == 200, deployed.text
    document = HTTP.get(f"{region.url}/boot/{MAC}").json()
    webhook = {"type": "webhook", "endpoint": f"{url or region.url}/metadata/status/{system_id}"}
    webhook |= {name: document[name] for name in ("consumer_key", "token_key", "token_secret")}
    (tmp_path / "cloud.cfg").write_text(json.dumps({"reporting": {"maas": webhook, "logging": {"type": "log"}}}))
    (tmp_path / "ssh").mkdir()
    for kind, key in KEYS.items():
        (tmp_path / "ssh" / f"ssh_host_{kind}_key.pub").write_text(f"{key} root@nuc\n")
        (tmp_path / "ssh" / f"ssh_host_{kind}_key").write_text("PRIVATE\n")
    return system_id


def _report(tmp_path: Path, seconds: float = 10) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), f"--keys={tmp_path / 'ssh'}", f"--timeout-seconds={seconds}"],
        env={**os.environ, "CLOUD_CFG": str(tmp_path / "cloud.cfg"), "PYTHONPATH": f"{STAND_IN}:{CHECKOUT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _events(region: Region, system_id: str) -> list[str]:
    answer = region.call("GET", f"events/?op=query&level=DEBUG&id={system_id}").json()
    return [event["description"] for event in answer["events"] if event["type"] == "Node status event"]


def test_maas_has_each_public_key_as_an_event(tmp_path: Path, region: Region) -> None:
    system_id = _machine(tmp_path, region)
    (tmp_path / "ssh" / "ssh_host_dsa_key.pub").write_text("ssh-dss AAAAB3Nz root@nuc\n")  # OpenSSH takes no such key
    done = _report(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "report-host-keys: MAAS knows 2 host keys: ssh-ed25519, ssh-rsa\n"
    assert sorted(_events(region, system_id)) == [f"'cloudinit' edge-ssh-host-key {key}" for key in KEYS.values()]


def test_a_region_that_starts_late_is_waited_for(tmp_path: Path, unused_port: int) -> None:
    chosen = settings(tmp_path / "data")
    with serve(chosen) as region:
        system_id = _machine(tmp_path, region, f"http://127.0.0.1:{unused_port}/MAAS")
    done: list[subprocess.CompletedProcess[str]] = []
    reporting = threading.Thread(target=lambda: done.append(_report(tmp_path, 40)))
    reporting.start()
    with serve(chosen, unused_port) as region:
        reporting.join(50)
        assert [result.returncode for result in done] == [0]
        assert len(_events(region, system_id)) == 2


def test_a_region_that_never_answers_is_named(tmp_path: Path, region: Region, unused_port: int) -> None:
    _machine(tmp_path, region, f"http://127.0.0.1:{unused_port}/MAAS")
    done = _report(tmp_path, 0)
    assert done.returncode == 1
    assert f"did not take the ssh-ed25519 key at http://127.0.0.1:{unused_port}/MAAS/metadata/status/" in done.stderr


def test_a_machine_that_maas_did_not_deploy_is_told_so(tmp_path: Path, region: Region) -> None:
    _machine(tmp_path, region)
    (tmp_path / "cloud.cfg").write_text(json.dumps({"reporting": {"logging": {"type": "log"}}}))
    done = _report(tmp_path)
    assert done.returncode == 1
    assert "cloud-init has no reporting webhook" in done.stderr


def test_missing_and_broken_host_keys_are_refused(tmp_path: Path, region: Region) -> None:
    system_id = _machine(tmp_path, region)
    (tmp_path / "ssh" / "ssh_host_rsa_key.pub").write_text("\n")
    done = _report(tmp_path)
    assert done.returncode == 1
    assert "ssh_host_rsa_key.pub holds no public key" in done.stderr
    for path in (tmp_path / "ssh").glob("*.pub"):
        path.unlink()
    done = _report(tmp_path)
    assert done.returncode == 1
    assert "no ssh_host_*_key.pub in" in done.stderr
    assert "ssh-keygen -A" in done.stderr
    assert _events(region, system_id) == []
