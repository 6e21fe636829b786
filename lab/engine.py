"""The Docker Engine the lab runs in: the machine's own where one answers, else one that the lab starts."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from lab.command import output, run
from lab.containers import LABEL
from lab.settings import ENGINE_DIR, ENGINE_RUN_DIR, LabError

OWN_SOCKET = f"unix://{ENGINE_RUN_DIR}/docker.sock"
MACHINE_SOCKET = "unix:///var/run/docker.sock"
PID_FILE = ENGINE_RUN_DIR / "docker.pid"
LOG_FILE = ENGINE_DIR / "dockerd.log"
LOCK_FILE = ENGINE_RUN_DIR / "lock"
START_DEADLINE_SECONDS = 60


def answering() -> str | None:
    """The address of a Docker Engine that answers, or None."""
    for url in (os.environ.get("DOCKER_HOST"), OWN_SOCKET, MACHINE_SOCKET):
        # A remote engine's containers would be out of reach, and its sockets cannot be mounted.
        if url and url.startswith("unix://") and _answers(url):
            return url
    return None


def connect(url: str) -> closing[docker.DockerClient]:
    """A client of the engine, closed when its `with` ends."""
    return closing(docker.DockerClient(base_url=url, timeout=600))


@contextmanager
def in_use() -> Iterator[None]:
    """Until this ends no other lab takes the engine for one that nobody needs: machines are about to run in it."""
    LOCK_FILE.parent.mkdir(parents=True, exist_ok=True)
    with LOCK_FILE.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def left_alone() -> Iterator[bool]:
    """True where no lab has the engine in use, and none will before this ends."""
    LOCK_FILE.parent.mkdir(parents=True, exist_ok=True)
    with LOCK_FILE.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def start() -> str:
    """Start an engine and return its address: by systemd where it runs, else a dockerd of the lab's own."""
    if Path("/run/systemd/system").is_dir():
        run("systemctl", "start", "docker")
        return _wait(MACHINE_SOCKET)
    ENGINE_DIR.mkdir(parents=True, exist_ok=True)
    ENGINE_RUN_DIR.mkdir(parents=True, exist_ok=True)
    dockerd = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if dockerd is None:
        raise LabError("no dockerd on this machine: apt-get install docker.io")
    PID_FILE.unlink(missing_ok=True)  # a leftover of a killed engine stops the next one
    with LOG_FILE.open("ab") as log:
        subprocess.Popen(  # noqa: S603
            [
                dockerd,
                f"--host={OWN_SOCKET}",
                f"--data-root={ENGINE_DIR / 'docker'}",
                f"--exec-root={ENGINE_RUN_DIR / 'exec'}",
                f"--pidfile={PID_FILE}",
                "--storage-driver=overlay2",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return _wait(OWN_SOCKET)


def stop_own() -> bool:
    """Stop the engine that start() made, if it runs and nothing else runs in it; True when it was stopped."""
    if not PID_FILE.exists() or not _answers(OWN_SOCKET):
        return False
    with connect(OWN_SOCKET) as client:
        if client.containers.list():
            return False
    pid = int(PID_FILE.read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        if time.monotonic() > deadline:
            raise LabError(f"dockerd (pid {pid}) does not stop within {START_DEADLINE_SECONDS} s; see {LOG_FILE}")
        time.sleep(0.2)
    return True


def builder() -> str | None:
    """The docker client that can build with BuildKit, if there is one: a newer one without buildx refuses to."""
    for client in (shutil.which("docker"), "/usr/bin/docker"):
        if client is None or not Path(client).exists():
            continue
        major = int(output(client, "--version").split()[2].split(".")[0])
        if major < 23 or "buildx" in output(client, "buildx", "version", check=False):
            return client
    return None


def build(url: str, *options: str, context: Path, dockerfile: Path, log: Path) -> None:
    """`docker build` with BuildKit, by the client: the SDK speaks only to the classic builder, which has no --mount."""
    client = builder()
    if client is None:
        raise LabError("no docker client here builds with BuildKit: install docker-buildx beside docker-cli")
    run(
        client,
        f"--host={url}",
        "build",
        f"--label={LABEL}=cache",
        *options,
        f"--file={dockerfile}",
        context,
        env={"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"},
        log=log,
    )


def _answers(url: str) -> bool:
    try:
        with connect(url) as client:
            return bool(client.ping())
    except DockerException:
        return False


def _is_zombie(pid: int) -> bool:
    """Without an init system nobody may reap a stopped daemon."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _wait(url: str) -> str:
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while not _answers(url):
        if time.monotonic() > deadline:
            raise LabError(
                f"the Docker Engine does not answer at {url} after {START_DEADLINE_SECONDS} s; see {LOG_FILE}"
            )
        time.sleep(0.3)
    return url
