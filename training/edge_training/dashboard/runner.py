"""`python -m edge_training.dashboard.runner FOLDER LOCK`: one playbook by ansible-runner, as FOLDER/run.json says.

A process of its own, which goes on when the dashboard is started anew. As long as it lives it holds the lock, a file
descriptor that it was given. What it leaves is ansible-runner's: FOLDER/artifacts/run/{stdout,status,rc}.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import ansible_runner

IDENT = "run"
PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): processes that lose their parent become children of this one."""


def main(folder: Path, lock: int) -> int:
    os.set_inheritable(lock, False)  # a connection that SSH keeps open would hold it, too
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wanted = json.loads((folder / "run.json").read_text())
    artifacts = folder / "artifacts" / IDENT
    told = threading.Event()
    # Or Ansible would go on without anybody to write down what it says.
    signal.signal(signal.SIGTERM, lambda _number, _frame: told.set())

    def forget(status: dict[str, Any], runner_config: Any) -> None:
        # It has the whole environment in it.
        if status["status"] == "running":
            (artifacts / "command").unlink(missing_ok=True)

    ran = ansible_runner.run(
        private_data_dir=str(folder),
        project_dir=wanted["project"],
        playbook=wanted["playbook"],
        inventory=wanted["inventory"],
        extravars=wanted["extra_vars"],
        limit=wanted["limit"],
        ident=IDENT,
        envvars={
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            # ansible-runner would switch it off, and each device is believed by its host key.
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            # edge.rack.horovod_job writes there what the training tells.
            "EDGE_PROGRESS_FILE": str(folder / "progress.jsonl"),
            **({"EDGE_PUSH_REPORTS_RUN_ID": wanted["run_id"]} if wanted["run_id"] else {}),
        },
        settings={"pexpect_timeout": 1},
        suppress_env_files=True,
        fact_cache_type="memory",  # or it would keep facts of every job in place of what ansible.cfg says
        omit_event_data=True,  # arguments and results of tasks
        quiet=True,
        event_handler=lambda _event: False,  # what was said is in `stdout`
        status_handler=forget,
        cancel_callback=lambda: told.is_set() or (folder / "cancel").exists(),
    )
    if ran.status == "canceled":
        end_children()
    return int(ran.rc or 0)


def end_children() -> None:
    """Ansible's workers have sessions of their own, which ansible-runner does not end: they would finish their task."""
    mine = Path(f"/proc/self/task/{os.getpid()}/children")
    while children := [int(number) for number in mine.read_text().split()]:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
