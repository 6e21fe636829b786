# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook that is ended in the middle of a training leaves a checkpoint, and nothing that goes on without it.

ansible-playbook, its plugin, the module and the rank are the real ones. The engine, mpirun and ssh are stand-ins that
run on this machine what they are given.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from edge_training import checkpoint, stop, train

from tests.unit.playbook_runs import CHECKOUT, PROGRAM, playbook_environment
from tests.unit.training.waiting import PATIENCE_SECONDS, wait_until

# Its processes are found by its name, and tests of another process may run beside.
JOB = f"unit-test-interrupted-{os.getpid()}"

ENGINE = """
import subprocess

class APIError(Exception): ...
class DockerException(Exception): ...
class NotFound(Exception): ...

class APIClient:
    def __init__(self, **_options):
        self.running = {}

    def inspect_container(self, _name):
        return {"State": {"Running": True}}

    def exec_create(self, _name, command):
        self.running[str(len(self.running))] = command
        return {"Id": str(len(self.running) - 1)}

    def exec_start(self, handle, detach=False, demux=False):
        piped = {} if detach else {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.running[handle] = subprocess.Popen(self.running[handle], **piped)
        return None if detach else self.running[handle].communicate()

    def exec_inspect(self, handle):
        status = self.running[handle].poll()
        return {"Running": status is None, "ExitCode": status}
"""
MPIRUN = """#!/bin/sh
for word; do shift; [ "$word" = python ] && break; done
python "$@" --data-dir "$FOLDER/data" --models-dir "$FOLDER/models" --checkpoints-dir "$FOLDER/checkpoints" &
trap : TERM  # as the real one, which ends once its ranks have
until wait "$!"; [ "$?" -lt 128 ]; do :; done
exit 1
"""
DOCKER = f"""#!/bin/sh
case "$1" in
  ps) echo {JOB} ;;
  exec) shift 2; exec "$@" ;;
esac
"""
FACTS = {
    "host": os.uname().nodename,
    "version": "1",
    "image_digest": None,
    "clock": 0,
    "memory_available_bytes": 1 << 40,
    "folders": {},
    "interface": "lo",
    "mtu": 65536,
    "lacks": None,
}
SSH = f"""#!/bin/sh
case "$*" in
  *"probe self"*) python -c 'import json, sys, time; print(json.dumps(json.loads(sys.argv[1]) | dict(clock=time.time())))' '{json.dumps(FACTS)}' ;;
  *) echo 0 ;;
esac
"""  # noqa: E501


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def events(file: Path) -> list[str]:
    return [json.loads(line)["event"] for line in file.read_text().splitlines()] if file.exists() else []


def stopped_by_the_playbook(folder: Path, environment: dict[str, str]) -> str:
    """What edge.rack.stop_training says of a rack whose only device this machine is."""
    program(folder / "bin/docker", DOCKER)
    alone = {"hosts": {"localhost": {"ansible_connection": "local"}}}
    inventory = {"all": {"children": {"devices": alone, "status_deployed": alone}}}
    (folder / "hosts.json").write_text(json.dumps(inventory))
    told = {"ansible_become": False, "training_worker_state_dir": str(folder)}
    command = [PROGRAM, "-i", folder / "hosts.json", "playbooks/stop_training.yml", "-e", json.dumps(told)]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM", "edge_training.stop", "edge.rack.stop_training"])
def test_an_ended_playbook_leaves_a_checkpoint_and_no_process(tmp_path: Path, by: str) -> None:
    program(tmp_path / "bin/mpirun", MPIRUN)
    program(tmp_path / "bin/ssh", SSH)
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/__init__.py").write_text(ENGINE)
    (tmp_path / "docker/errors.py").write_text("from docker import APIError, DockerException, NotFound\n")
    module = {
        "name": JOB,
        "workers": [{"name": "localhost", "address": "127.0.0.1"}],
        "subnet": "127.0.0.0/8",
        "epochs": 100_000,
        "state_dir": str(tmp_path / "state"),
        "local_progress_file": str(tmp_path / "progress.jsonl"),
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False}
    (tmp_path / "play.yml").write_text(json.dumps([{**play, "tasks": [{"edge.rack.horovod_job": module}]}]))
    environment = playbook_environment(
        ANSIBLE_ASYNC_DIR=str(tmp_path / "async"),
        FOLDER=str(tmp_path),
        OMP_NUM_THREADS="1",
        PATH=os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path(train.__file__).parents[1])]),
    )
    log = (tmp_path / "log").open("w")
    command = [str(PROGRAM), "-i", "localhost,", str(tmp_path / "play.yml")]
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as playbook:
        try:
            wait_until(
                lambda: "epoch" in events(tmp_path / "progress.jsonl") or playbook.poll() is not None, "an epoch"
            )
            assert playbook.poll() is None, (tmp_path / "log").read_text()
            if by == "edge.rack.stop_training":
                said = stopped_by_the_playbook(tmp_path, environment)
                assert f"Stopped: {JOB}" in said
            elif by == "edge_training.stop":
                assert stop.main(["--job", JOB, "--state-dir", str(tmp_path / "state")]) == 0
            else:
                playbook.send_signal(signal.Signals[by])
            assert playbook.wait(PATIENCE_SECONDS) != 0
            wait_until(lambda: not stop.processes_of(JOB), "the end of all processes of the job")
        finally:
            playbook.kill()
            stop.stop(JOB, 0)
    chosen = train.Settings(JOB, epochs=100_000, checkpoints_dir=tmp_path / "checkpoints")
    left = checkpoint.latest(chosen.checkpoints, chosen.learning())
    assert left is not None
    assert left.step > 0, "only the end of an epoch was kept"
    runs = list((tmp_path / "state/jobs" / JOB).glob("mpirun*.log"))
    assert [path.name for path in runs] == ["mpirun.log"], "it was begun again"
    if by.startswith("edge"):
        assert f"job {JOB} was stopped after" in (tmp_path / "log").read_text()
