"""What a device's own run costs when nothing is to be done, beside `puppet apply` with the same resources.

    python -m tests.benchmarks.pull_cost [--runs N] [--keep]          (root)

One machine with systemd and an engine of its own (`python -m lab machine`), set up by this collection's roles; its
site is a signed commit in a folder, its Predictor a stand-in. By turns: `edge-converge run`, whole (fetch, verify,
playbook, report), without the CPU quota of its unit, and `puppet apply` (Debian's) with a manifest of the same
group, user, folders, packages, files, service, image, model, container and predictions. Neither changes anything, and
both mend the same drift, which is checked. CPU seconds are those of the program and all that it started; what the
Docker Engine does for it is not counted, for either.

Writes .bench/pull_cost.md and .json.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lab import rootfs, settings, wheelhouse
from tests.benchmarks import results
from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[2]
GIVEN = CHECKOUT / "tests/benchmarks/pull_cost_device"
MACHINE = "device"
REGISTRY = "127.0.0.1:5000"
BUNDLE = b"a model" * 100_000
MODEL = hashlib.sha256(BUNDLE).hexdigest()
DRIFT = "/usr/local/lib/edge/fetch-blob"
# Runs a command; the last line is its wall and CPU seconds, and its exit status.
TIMED = """\
import json, resource, subprocess, sys, time
begin = time.monotonic()
pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
done = subprocess.run(sys.argv[1:], text=True, **pipes)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.monotonic() - begin, used.ru_utime + used.ru_stime, done.returncode, done.stdout]))
"""
CONVERGE = ("/usr/local/sbin/edge-converge", "run")
PUPPET = ("/usr/bin/puppet", "apply", "--detailed-exitcodes", "--color=false", "/root/device.pp")


@dataclass
class Cost:
    """Medians of one program's runs."""

    program: str
    cpu: float
    wall: float
    runs: list[tuple[float, float]]


class Device:
    """The machine, entered through its namespaces."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {**os.environ, "LAB_NAME": "bench", "LAB_STATE": str(state)}
        self.lab("machine", MACHINE)
        self.pid = (state / f"{MACHINE}.pid").read_text().strip()
        deadline = time.monotonic() + 120
        # At first systemctl finds nobody to ask.
        while self.run("systemctl", "is-system-running", "--wait", check=False).strip() not in ("running", "degraded"):
            assert time.monotonic() < deadline, "the machine does not come up"
            time.sleep(1)

    def lab(self, *words: str) -> None:
        subprocess.run([sys.executable, "-m", "lab", *words], cwd=CHECKOUT, env=self.environment, check=True)

    def run(self, *argv: str, stdin: bytes = b"", check: bool = True) -> str:
        path = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["nsenter", "--target", self.pid, "--all", *argv],
            env={**path, "DEBIAN_FRONTEND": "noninteractive"},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {said}"
        return said

    def write(self, path: str, content: bytes | str) -> None:
        self.run(
            "sh",
            "-euc",
            f"mkdir -p $(dirname {path}); cat > {path}",
            stdin=content.encode() if isinstance(content, str) else content,
        )

    def timed(self, *argv: str) -> tuple[float, float, int, str]:
        wall, cpu, status, said = json.loads(self.run("/usr/bin/python3", "-c", TIMED, *argv).splitlines()[-1])
        return wall, cpu, status, said


# -- What the device is to be


def predictor(device: Device) -> str:
    """An image that answers as the Predictor does, by its digest in a registry of the device's own."""
    device.run(
        "sh",
        "-euc",
        "apt-get update --quiet=2; apt-get install --quiet=2 --no-install-recommends git puppet docker-registry",
    )
    storage = {"filesystem": {"rootdirectory": "/var/lib/docker-registry"}}
    device.write(
        "/etc/docker/registry/config.yml",
        json.dumps({"version": 0.1, "storage": storage, "http": {"addr": REGISTRY}}),
    )
    device.run("systemctl", "restart", "docker-registry")
    with rootfs.base(settings.from_environment()).open("rb") as archive:
        base = device.run("docker", "import", "-", stdin=archive.read()).split()[-1]
    archive = io.BytesIO()
    # The engine takes the headers of Python's own format for a Dockerfile.
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as context:
        context.add(GIVEN / "predictor.py", "predictor.py")
        lines = (
            f"FROM {base}",
            "COPY predictor.py /",
            "RUN ln -s /predictor.py /usr/local/bin/ready",
            'CMD ["/predictor.py"]',
        )
        recipe = "\n".join(lines).encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(recipe)
        context.addfile(member, io.BytesIO(recipe))
    device.run("docker", "build", "--quiet", "--tag", f"{REGISTRY}/edge/predictor:1", "-", stdin=archive.getvalue())
    device.run("docker", "push", "--quiet", f"{REGISTRY}/edge/predictor:1")
    return device.run(
        "docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", f"{REGISTRY}/edge/predictor:1"
    ).strip()


def site(folder: Path, digest: str) -> Path:
    """A signed commit with the release; the bare repository."""
    place = folder / "site/inventory/rack/group_vars/all"
    place.mkdir(parents=True)
    release = {
        "name": "2026.12",
        "images": {"predictor": {"tag": "1", "digest": digest}},
        "model": {"digest": f"sha256:{MODEL}"},
    }
    (place / "release.yml").write_text(json.dumps({"edge_release": release}))
    (folder / "site/inventory/rack/hosts.yml").write_text(json.dumps({"all": {"hosts": {MACHINE: {}}}}))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", folder / "key"], check=True)
    who = [
        "-c",
        "user.name=alice",
        "-c",
        "user.email=alice@example.com",
        "-c",
        "gpg.format=ssh",
        "-c",
        f"user.signingkey={folder / 'key'}",
    ]
    for command in (
        ["init", "--quiet", "--initial-branch=main", "."],
        ["add", "--all"],
        [*who, "commit", "--quiet", "--gpg-sign", "--message=Release 2026.12"],
        ["clone", "--quiet", "--bare", ".", str(folder / "site.git")],
    ):
        subprocess.run(
            ["git", *command], cwd=folder / "site", env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}, check=True
        )
    return folder / "site.git"


def configure(device: Device, folder: Path, digest: str) -> None:
    """As edge.rack.configure does, but for what takes a registry's and a control VM's hands."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as packed:
        packed.add(site(folder, digest), "site.git")
    device.run("sh", "-euc", "mkdir -p /srv; tar --extract --no-same-owner --directory /srv", stdin=archive.getvalue())
    (folder / "ca").mkdir()
    (folder / "ca/ca.crt").write_text("no certificate: nothing here speaks TLS\n")
    variables = {
        "ansible_connection": "community.docker.nsenter",
        "ansible_nsenter_pid": int(device.pid),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_pipelining": True,
        "ansible_host": "127.0.0.1",
        "docker_engine_ca_certificate": str(folder / "ca/ca.crt"),
        "docker_engine_registry": REGISTRY,
        "edge_controller_dir": str(folder / "controller"),
        "edge_registry": REGISTRY,
        "pull_agent_control_host": "nobody.example.com",
        "pull_agent_cpu_quota": "",
        "pull_agent_enabled": False,
        "pull_agent_host_keys": ["ssh-ed25519 AAAA"],
        "pull_agent_reports_url": "",
        "pull_agent_site_inventory": "inventory/rack/hosts.yml",
        "pull_agent_url": "/srv/site.git",
        "pull_agent_wheelhouse": str(wheelhouse.agent(settings.from_environment())),
        "rack_ca_dir": str(folder / "ca"),
        "trust_signers": [{"name": "alice@example.com", "key": (folder / "key.pub").read_text()}],
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"localhost": local, MACHINE: variables}
    (folder / "hosts.json").write_text(
        json.dumps({"all": {"hosts": hosts, "children": {"devices": {"hosts": {MACHINE: None}}}}})
    )
    roles = [f"edge.rack.{name}" for name in ("device", "docker_engine", "health_gate", "trust", "pull_agent")]
    (folder / "play.json").write_text(
        json.dumps([{"hosts": MACHINE, "gather_facts": False, "force_handlers": True, "roles": roles}])
    )
    done = ansible_playbook("-i", folder / "hosts.json", folder / "play.json", seconds=1800, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    device.write(f"/var/lib/edge/models/{MODEL}.tar", BUNDLE)


# -- Runs


def converge(device: Device) -> tuple[float, float, dict[str, Any]]:
    wall, cpu, status, said = device.timed(*CONVERGE)
    found = json.loads(device.run("/usr/local/sbin/edge-converge", "status", "--json"))["last"]
    assert status == 0, said
    return wall, cpu, found


def puppet(device: Device) -> tuple[float, float, int]:
    """With --detailed-exitcodes 0 is: nothing was to be done, and 2: something was."""
    wall, cpu, status, said = device.timed(*PUPPET)
    assert status in (0, 2), said
    return wall, cpu, status


def costs(device: Device, runs: int) -> list[Cost]:
    assert converge(device)[2]["outcome"] == "changed"
    digest = device.run("docker", "inspect", "--format", "{{.Image}}", "edge-predictor").strip()
    image = device.run("docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", digest).strip()
    given = {"MODEL": MODEL, "IMAGE": image}
    for path in (DRIFT, "/etc/docker/daemon.json", f"/etc/docker/certs.d/{REGISTRY}/ca.crt"):
        device.run("install", "-D", path, f"/root/puppet{path}")
    manifest = (GIVEN / "device.pp").read_text()
    for name, value in given.items():
        manifest = manifest.replace(f"@{name}@", value)
    device.write("/root/device.pp", manifest)
    device.write("/root/predictions.py", (GIVEN / "predictions.py").read_bytes())
    puppet(device)
    for mend, mended in ((lambda: converge(device)[2]["outcome"], "corrective"), (lambda: puppet(device)[2], 2)):
        device.run("sh", "-c", f"echo drift >> {DRIFT}")
        assert mend() == mended
    found: dict[str, list[tuple[float, float]]] = {"edge-converge run": [], "puppet apply": []}
    for _ in range(runs):
        wall, cpu, last = converge(device)
        assert last["outcome"] == "ok", last
        found["edge-converge run"].append((cpu, wall))
        wall, cpu, status = puppet(device)
        assert status == 0
        found["puppet apply"].append((cpu, wall))
    return [
        Cost(name, median(cpu for cpu, _ in took), median(wall for _, wall in took), took)
        for name, took in found.items()
    ]


def report(device: Device, found: list[Cost]) -> str:
    ours, theirs = found
    versions = [
        device.run("/opt/edge/ansible/bin/ansible", "--version").splitlines()[0],
        "puppet " + device.run("puppet", "--version").strip(),
        device.run("python3", "--version").strip(),
        f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}",
    ]
    lines = [
        f"A device of its own accord, with nothing to do: medians of {len(ours.runs)} runs. {'; '.join(versions)}.",
        "",
        "| program | CPU s | wall s |",
        "|---|---|---|",
        *(f"| {one.program} | {one.cpu:.2f} | {one.wall:.2f} |" for one in found),
        f"| ratio | {ours.cpu / theirs.cpu:.2f} | {ours.wall / theirs.wall:.2f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="pull_cost", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the machine there, to look at it")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("pull_cost: runs as root")
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        device = Device(Path(tempfile.gettempdir()) / "edge-bench-state")
        try:
            configure(device, folder, predictor(device).partition("@")[2])
            found = costs(device, options.runs)
            text = report(device, found)
        finally:
            if not options.keep:
                device.lab("down")
    results.write("pull_cost", [asdict(cost) for cost in found], text)


if __name__ == "__main__":
    main()
