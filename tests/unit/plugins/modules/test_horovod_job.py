# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.horovod import command, failures, findings
from ansible_collections.edge.rack.plugins.modules import horovod_job

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
MANY = [{"name": f"nuc-{n:02d}", "address": f"10.10.0.{n}", "slots": 1} for n in range(1, 11)]
WORKERS = MANY[:3]


def params(**changes: Any) -> dict[str, Any]:
    defaults = {
        "name": "digits-1",
        "task": "digits",
        "task_digest": None,
        "workers": [dict(worker) for worker in WORKERS],
        "subnet": "10.10.0.0/24",
        "ssh_port": 2222,
        "epochs": 12,
        "batch_size": 32,
        "learning_rate": 0.002,
        "seed": 1,
        "accumulate": 1,
        "local_steps": 1,
        "compression": "none",
        "powersgd_rank": 4,
        "image_digest": None,
        "timeout_seconds": 60,
        "unfit": "refuse",
        "unreachable": [],
        "reasons": {},
        "memory_mib": 320,
        "disk_mib": 256,
        "link_seconds": 0.5,
        "min_link_mbit": 0,
        "max_restarts": 3,
        "min_workers": 1,
        "checkpoint_copies": 1,
        "checkpoint_steps": 0,
        "checkpoint_minutes": 10.0,
        "container": "edge-worker",
        "state_dir": "/var/lib/edge/state",
        "resume": True,
        "force": False,
        "docker_host": "unix:///nowhere",
    }
    return {**defaults, **changes}


def answer(number: int, **facts: Any) -> dict[str, Any]:
    told = {
        "host": f"host-{number}",
        "version": "0.1.0",
        "image_digest": A,
        "clock_offset_seconds": 0.1,
        "memory_available_bytes": 4 << 30,
        "folders": {"/var/lib/edge/data": 9 << 30},
        "interface": "eth0",
        "mtu": 1500,
        "lacks": None,
    }
    return {**MANY[number - 1], "facts": {**told, **facts}}


# -- Before the start ---------------------------------------------------------------------------


def test_a_sound_job_has_no_findings() -> None:
    answers = [answer(1), answer(2), answer(3)]
    assert findings.request_findings(params(image_digest=A)) == []
    assert findings.request_findings(params(local_steps=2, compression="powersgd", powersgd_rank=1)) == []
    assert findings.probe_findings(params(image_digest=A), WORKERS, {"host": "host-1"}, answers) == ([], {})


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"name": "Digits 1"}, "name: 'Digits 1'"),
        ({"epochs": 0}, "epochs: 0"),
        ({"image_digest": "latest"}, "image_digest: 'latest'"),
        ({"task_digest": "sha256:1", "task": "/run/edge-job/task/x.py"}, "task_digest: 'sha256:1'"),
        ({"task_digest": A}, "task_digest: digits is part of the image"),
        ({"subnet": "10.10.0.1/24"}, "subnet: 10.10.0.1/24 has host bits set"),
        ({"workers": []}, "the list is empty"),
        ({"unreachable": ["nuc-09"]}, "unreachable: nuc-09: not among the workers"),
        ({"unreachable": ["nuc-01", "nuc-02", "nuc-03"]}, "unreachable: no worker is left"),
        ({"checkpoint_copies": -1}, "checkpoint_copies: -1: must be 0 or more"),
        ({"disk_mib": 0}, "disk_mib: 0: must be greater than 0"),
        ({"accumulate": 0}, "accumulate: 0: must be greater than 0"),
        ({"min_link_mbit": -1}, "min_link_mbit: -1: must be 0 or more"),
        ({"min_link_mbit": 900, "link_seconds": 0}, "min_link_mbit: 900 with link_seconds 0: links that are not"),
        ({"local_steps": 8, "compression": "fp16"}, "compression: fp16 with local_steps 8: gradients are compressed"),
        ({"powersgd_rank": 0, "compression": "powersgd"}, "powersgd_rank: 0: must be greater than 0"),
        ({"powersgd_rank": 8, "compression": "fp16"}, "powersgd_rank: 8 with compression fp16: only powersgd"),
        ({"local_steps": 2}, "local_steps: 2: parameters and Adam's two moments are averaged"),
        ({"local_steps": 8, "accumulate": 4}, "local_steps: 8 with accumulate 4: both make ranks talk less often"),
        ({"workers": [WORKERS[0], WORKERS[0]]}, "address 10.10.0.1 is given 2 times"),
        ({"subnet": "10.20.0.0/24"}, "nuc-03: address 10.10.0.3 is not in 10.20.0.0/24"),
        ({"workers": [{"name": "x", "address": "nuc", "slots": 1}]}, "x: address 'nuc' is not an IPv4 address"),
        ({"workers": [{**WORKERS[0], "slots": 0}]}, "nuc-01: slots is 0"),
    ],
)
def test_a_wrong_request_is_found_without_asking_anyone(changes: dict[str, Any], finding: str) -> None:
    assert any(finding in found for found in findings.request_findings(params(**changes)))


def test_every_fault_of_every_worker_is_found_at_once() -> None:
    answers = [
        answer(1, clock_offset_seconds=-60.0, folders={"/var/lib/edge/models": None}),
        answer(2, host="host-1", image_digest=B, memory_available_bytes=1 << 20),
        {**WORKERS[2], "error": "Connection refused"},
    ]
    common, unfit = findings.probe_findings(params(image_digest=A), WORKERS, {"host": "host-9"}, answers)
    assert [len(unfit[worker["name"]]) for worker in WORKERS] == [2, 2, 1]
    text = "\n".join([*common, *(finding for findings in unfit.values() for finding in findings)])
    assert "nuc-01: its clock is 60 s behind" in text
    assert "nuc-01: /var/lib/edge/models is not writable" in text
    assert "nuc-02: 1 MiB of memory available, 1 rank(s) need 320" in text
    assert "nuc-01, nuc-02: all call themselves host-1" in text
    assert "nuc-03: SSH from the launcher to 10.10.0.3 port 2222 fails: Connection refused" in text
    assert f"nuc-02: runs image {B}, not {A}" in text
    assert "run this module on the first worker" in text
    assert len(common) == 2


def test_ranks_that_share_a_device_share_memory() -> None:
    workers = [{**WORKERS[0], "slots": 4}, WORKERS[1]]
    for mib, expected in ((980, []), (979, ["nuc-01: 979 MiB of memory available, 4 rank(s) need 980"])):
        answers = [answer(1, memory_available_bytes=mib << 20), answer(2)]
        _common, unfit = findings.probe_findings(params(workers=workers), workers, {"host": "host-1"}, answers)
        assert [one.partition(";")[0] for one in unfit.get("nuc-01", [])] == expected


def test_without_a_digest_workers_must_agree() -> None:
    answers = [answer(1), answer(2, image_digest=B), answer(3, version="0.2.0")]
    common, unfit = findings.probe_findings(params(), WORKERS, {"host": "host-1"}, answers)
    assert unfit == {}
    assert [finding.split(":")[0] for finding in common] == ["workers differ in image", "workers differ in version"]


@pytest.mark.parametrize(
    ("facts", "changes", "finding"),
    [
        ({"mtu": 9000}, {}, "nuc-02: MTU 9000 on eth0, nuc-01 has 1500; give all interfaces in 10.10.0.0/24 the same"),
        ({"interface": None, "mtu": None}, {}, "nuc-02: no interface has an address in 10.10.0.0/24"),
        ({}, {"memory_mib": 5000}, "nuc-02: 4096 MiB of memory available, 1 rank(s) need 5000"),
        ({}, {"disk_mib": 9300}, "nuc-02: 9216 MiB free in /var/lib/edge/data, 9300 are needed"),
        ({"lacks": "image_folder: no images; put some there"}, {}, "nuc-02: image_folder: no images; put some there"),
    ],
)
def test_a_finding_names_the_worker_and_the_fix(facts: dict[str, Any], changes: dict[str, Any], finding: str) -> None:
    answers = [answer(1), answer(2, **facts), answer(3)]
    _common, unfit = findings.probe_findings(params(**changes), WORKERS, {"host": "host-1"}, answers)
    assert [found for found in unfit["nuc-02"] if found.startswith(finding)]
    assert facts == {} or list(unfit) == ["nuc-02"]


def test_of_two_mtus_the_launchers_is_the_usual_one() -> None:
    answers = [answer(1, mtu=9000), answer(2)]
    _common, unfit = findings.probe_findings(params(), WORKERS[:2], {"host": "host-1"}, answers)
    assert list(unfit) == ["nuc-02"]


def test_only_a_task_with_data_on_the_device_is_asked_for_it() -> None:
    assert findings.probe_request(params(), WORKERS)["task"] is None
    assert findings.probe_request(params(task="image_folder"), WORKERS)["task"] == "image_folder"


def test_the_command_keeps_to_the_subnet_and_the_ring() -> None:
    words = command.mpirun_command(params(workers=[{**WORKERS[0], "slots": 2}, WORKERS[1]]))
    line = " ".join(words)
    assert words[:5] == ["mpirun", "-np", "3", "-H", "10.10.0.1:2,10.10.0.2:1"]
    assert "--mca oob_tcp_if_include 10.10.0.0/24" in line
    assert "--mca btl_tcp_if_include 10.10.0.0/24" in line
    assert "--mca coll_tuned_dynamic_rules_filename /opt/edge/share/allreduce-ring.rules" in line
    assert "ssh -F /etc/ssh/edge_ssh_config -p 2222" in words
    assert words[-1] == "--resume"
    assert "python -m edge_training.slots --job" in line
    assert "python -m edge_training.train --job" in " ".join(command.mpirun_command(params()))
    assert "--checkpoint-copies 1 --checkpoint-steps 0 --checkpoint-minutes 10.0" in line
    assert "--resume" not in command.mpirun_command(params(force=True))
    assert "plm_rsh_num_concurrent" not in line
    many = [{"name": f"n{n}", "address": f"10.10.0.{n}", "slots": 1} for n in range(1, 101)]
    assert "plm_rsh_num_concurrent" in command.mpirun_command(params(workers=many))


def test_a_users_task_is_the_one_that_was_sent() -> None:
    mine = params(task="/run/edge-job/task/mine.py", task_digest=A)
    assert findings.request_findings(mine) == []
    assert "--ranks 3 /run/edge-job/task/mine.py" in " ".join(findings.check_command(mine))
    words = command.mpirun_command(mine)
    assert words[words.index("--task-digest") + 1] == A
    assert "--task-digest" not in command.mpirun_command(params())
    verdict = {"findings": ["mine.py:3: model: ..."], "digest": A}
    assert findings.check_findings(mine, verdict) == ["mine.py:3: model: ..."]
    assert findings.check_findings(mine, {"findings": [], "digest": A}) == []
    (finding,) = findings.check_findings(mine, {"findings": [], "digest": B})
    assert finding == f"nuc-01: the task is {B} there, not {A}; deliver its files again"


def test_a_checks_answer_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    (tmp_path / "answer.json").write_text("of a run before")
    script = f"test ! -e {answer}.json && echo '{{}}' && echo a word >&2; exit 1"
    subprocess.run(["sh", "-c", horovod_job.CHECK_SCRIPT, "check", str(answer), "sh", "-c", script], check=True)
    assert json.loads((tmp_path / "answer.json").read_text()) == {}
    assert (tmp_path / "answer.log").read_text() == "a word\n"


# -- One job, one record ------------------------------------------------------------------------


def test_a_spec_differs_by_named_fields() -> None:
    recorded = json.loads(json.dumps(command.spec_of(params())))
    assert command.spec_difference(recorded, command.spec_of(params(timeout_seconds=1))) == []
    difference = command.spec_difference(recorded, command.spec_of(params(epochs=3, workers=WORKERS[:1])))
    assert difference[0] == "epochs (recorded 12, now 3)"
    assert difference[1].startswith("workers (recorded")
    assert command.spec_hash(recorded) == command.spec_hash(command.spec_of(params()))


def test_what_spares_bytes_makes_another_job_and_is_not_asked_of_an_image_that_does_not_know_it() -> None:
    before = {field: params()[field] for field in command.SPEC_FIELDS}
    assert command.spec_difference(before, command.spec_of(params())) == []
    assert not [word for word in command.mpirun_command(params()) if word.startswith("--accumulate")]
    sparing = params(accumulate=4)
    assert command.spec_difference(before, command.spec_of(sparing)) == ["accumulate (recorded 1, now 4)"]
    assert "--accumulate 4" in " ".join(command.mpirun_command(sparing))


# -- What went wrong ----------------------------------------------------------------------------

KILLED = """
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
mpirun noticed that process rank 2 with PID 0 on node 10.10.0.3 exited on signal 9 (Killed).
"""
CUT_OFF = """
ORTE has lost communication with a remote daemon.

  HNP daemon   : [[52458,0],0] on node host-1
  Remote daemon: [[52458,0],1] on node 10.10.0.2
"""
STATUS = """
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[1234,1],0]
  Exit code:    1
"""
TOLD = '{"event": "error", "where": "rank 1 on host-2", "message": "data-dir: cannot write"}\n' + STATUS


@pytest.mark.parametrize(
    ("log", "sentence", "worker"),
    [
        (KILLED, "rank 2 on nuc-03 ended by signal 9 (Killed); out of memory there?", "nuc-03"),
        (KILLED.replace("10.10.0.3", "host-3"), "rank 2 on nuc-03", "nuc-03"),
        (CUT_OFF, "the connection to nuc-02 was lost", "nuc-02"),
        (STATUS, "rank 0 on nuc-01 ended with status 1", "nuc-01"),
        (TOLD, "rank 1 on host-2 (nuc-02) says: data-dir: cannot write", "nuc-02"),
        ("ssh: connect to host 10.10.0.2 port 2222: Connection refused", "no SSH connection to nuc-02", "nuc-02"),
        ("something else\n", "mpirun's last words: something else", None),
        ("", "none", None),
    ],
)
def test_a_lost_rank_is_named(log: str, sentence: str, worker: str | None) -> None:
    found = failures.explain_failure(log, WORKERS)
    assert sentence in found[0]
    assert found[1] == worker


RING = TOLD.replace('"}', '", "cause": "ring"}').replace("data-dir: cannot write", "Connection reset by peer")


@pytest.mark.parametrize(
    ("log", "goes_on", "sentence"),
    [
        (KILLED, True, "rank 2 on nuc-03 ended by signal 9"),
        (CUT_OFF, True, "the connection to nuc-02 was lost"),
        (RING + KILLED, True, "rank 2 on nuc-03 ended by signal 9"),
        (RING, True, "rank 0 on nuc-01 ended with status 1"),
        (RING.partition("\n")[0], True, "rank 1 on host-2 noticed that others are gone: Connection reset by peer"),
        (RING.replace("ring", "stop") + KILLED, True, "rank 2 on nuc-03 ended by signal 9"),
        (RING + TOLD, False, "rank 1 on host-2 (nuc-02) says: data-dir: cannot write"),
        (TOLD, False, "rank 1 on host-2 (nuc-02) says: data-dir: cannot write"),
        (
            "python: No module named edge_training.slots\n" + KILLED,
            False,
            "deploy a newer one, or give each worker 1 slot",
        ),
    ],
)
def test_what_a_rank_says_of_its_own_fault_is_told_from_what_it_noticed(log: str, goes_on: bool, sentence: str) -> None:
    assert failures.is_lost_rank(log) is goes_on
    assert sentence in failures.explain_failure(log, WORKERS)[0]


class FailedError(Exception):
    """What fail_json says."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields


class Container:
    """A launcher: each run ends as it is told, and these workers answer afterwards."""

    def __init__(
        self, runs: list[tuple[int, str]], answering: list[list[str]], probed: dict[str, Any] | None = None
    ) -> None:
        self.probed = probed
        # What links carry, in Mbit/s, by the names of their two ends, or of one with a star; the others 940.
        self.slow: dict[tuple[str, str], Any] = {}
        self.runs, self.answering, self.started, self.stopped = runs, answering, [], []  # type: ignore[var-annotated]
        self.name, self.files = "edge-worker", {}  # type: ignore[var-annotated]

    def start(self, command: list[str]) -> str:
        self.started.append(command)
        return "run"

    def finished(self, _handle: str) -> int:
        status, said = self.runs.pop(0)
        self.files[self.started[-1][5]] = said
        return status

    def call(self, command: list[str]) -> tuple[int, str, str]:
        if "edge_training.stop" in command:
            self.stopped.append([word for word in command if word.startswith("10.")])
            return 0, "0", ""
        if "edge_training.links" in command:
            asked = json.loads(command[-1])
            return (
                0,
                json.dumps({"links": [self._link(*ends) for ends in asked["pairs"] or ring(asked["workers"])]}),
                "",
            )
        if self.probed is not None:
            return 0, json.dumps(self.probed), ""
        asked = json.loads(command[-1])["workers"]
        names = self.answering.pop(0)
        return 0, json.dumps({"workers": [{"facts": {}} if one["name"] in names else {} for one in asked]}), ""

    def _link(self, sender: str, receiver: str) -> dict[str, Any]:
        ends = ((sender, receiver), (sender, "*"), ("*", receiver))
        found = next((self.slow[one] for one in ends if one in self.slow), 940)
        known = {"from": sender, "to": receiver}
        return known | ({"error": found} if isinstance(found, str) else {"bits_per_second": found * 1_000_000})

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def write_json(self, path: str, value: Any) -> None:
        self.files[path] = json.dumps(value)

    def read_json(self, path: str) -> Any:
        if path in self.files:
            return json.loads(self.files[path])
        return {"ranks": 2} if path.endswith("result.json") else None


def ring(workers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    names = [worker["name"] for worker in workers]
    return list(zip(names, names[1:] + names[:1], strict=True))


def job(container: Container, **changes: Any) -> horovod_job.Job:
    def fail_json(msg: str, **fields: Any) -> None:
        raise FailedError(msg, **fields)

    made = horovod_job.Job.__new__(horovod_job.Job)
    made.module = type("Module", (), {"fail_json": staticmethod(fail_json), "warn": lambda _text: None})
    made.params, made.launcher = params(**changes), container
    made.workers = [one for one in made.params["workers"] if one["name"] not in made.params["unreachable"]]
    made.left_out, made.links, made.stop_file = [], [], "/jobs/digits-1/stop"
    made.spec, made.folder = {}, "/jobs/digits-1"
    made.always = {"log": "/jobs/digits-1/mpirun.log"}
    return made


def test_whoever_is_unfit_is_left_out_and_named_in_the_record() -> None:
    probed = {"launcher": {"host": "host-1"}, "workers": [answer(1), answer(2, memory_available_bytes=1 << 20)]}
    container = Container([(0, "")], [], probed)
    made = job(container, unfit="leave_out", unreachable=["nuc-03"])
    made.preflight()
    assert [worker["name"] for worker in made.workers] == ["nuc-01"]
    result, _progress = made.train(["mpirun"])
    low, off = result["left_out"]
    assert low["name"] == "nuc-02" and low["findings"][0].startswith("nuc-02: 1 MiB of memory available")
    assert off == {"name": "nuc-03", "findings": ["nuc-03: does not answer; check its power and its network"]}
    assert result["lost_workers"] == []
    assert job(container, force=True).recorded_result() == result


class ExitedError(Exception):
    """What exit_json says."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.fields = fields


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_playbook_in_check_mode_has_started_no_worker_that_could_be_asked(check_mode: bool) -> None:
    def exit_json(**fields: Any) -> None:
        raise ExitedError(**fields)

    def require() -> None:
        raise horovod_job.LauncherError("container edge-worker does not run on this device")

    container = Container([], [])
    container.running, container.require = False, require  # type: ignore[attr-defined]
    made = job(container, force=True)
    made.module.check_mode, made.module.exit_json = check_mode, exit_json
    with pytest.raises(ExitedError if check_mode else horovod_job.LauncherError) as said:
        made.run()
    if check_mode:
        assert said.value.fields["changed"] is True
        assert said.value.fields["command"][0] == "mpirun"
        silent = job(container, force=True, unreachable=["nuc-02"])
        silent.module.check_mode, silent.module.exit_json = check_mode, exit_json
        with pytest.raises(FailedError, match="nuc-02: does not answer"):
            silent.run()


def measuring(slow: Any, count: int = 3, **changes: Any) -> horovod_job.Job:
    probed = {"launcher": {"host": "host-1"}, "workers": [answer(n) for n in range(1, count + 1)]}
    container = Container([(0, "")], [], probed)
    container.slow = slow
    return job(container, workers=MANY[:count], **{"min_link_mbit": 900, **changes})


def test_a_worker_whose_links_are_bad_is_left_out_and_the_ring_of_the_others_is_measured_anew() -> None:
    made = measuring({("nuc-04", "*"): 94, ("*", "nuc-04"): 93}, 6, unfit="leave_out")
    made.preflight()
    names = ["nuc-01", "nuc-02", "nuc-03", "nuc-05", "nuc-06"]
    assert [(one["from"], one["to"]) for one in made.links] == list(zip(names, [*names[1:], names[0]], strict=True))
    result, _progress = made.train(["mpirun"])
    assert result["links"] == made.links
    (left_out,) = result["left_out"]
    assert left_out["name"] == "nuc-04" and len(left_out["findings"]) == 2
    assert left_out["findings"][0].startswith("nuc-04: nuc-01 sends 93 Mbit/s to nuc-04, less than min_link_mbit (900)")
    assert json.loads(made.launcher.started[0][8]) == {"event": "links", "links": made.links}


@pytest.mark.parametrize(
    ("slow", "count", "left_out"),
    [
        ({("nuc-05", "*"): 94}, 10, ["nuc-05"]),
        ({("*", "nuc-05"): "timed out"}, 10, ["nuc-05"]),
        # Between two that are bad there is nobody to blame for.
        ({("nuc-05", "*"): 94, ("*", "nuc-06"): 94}, 10, ["nuc-05", "nuc-06"]),
        ({}, 10, []),
        ({("nuc-05", "*"): 94}, 1, []),
    ],
)
def test_whose_fault_a_bad_link_is_shows_with_a_worker_that_has_none(
    slow: Any, count: int, left_out: list[str]
) -> None:
    made = measuring(slow, count, unfit="leave_out")
    made.preflight()
    assert [one["name"] for one in made.left_out] == left_out


@pytest.mark.parametrize(
    ("slow", "count", "message", "launcher"),
    [
        ({("nuc-01", "*"): 94}, 10, "nuc-01: nuc-01 sends 94 Mbit/s to nuc-03", True),
        ({("*", "nuc-01"): 94}, 10, "nuc-01: nuc-02 sends 94 Mbit/s to nuc-01", True),
        # A slow trunk between two shelves.
        (
            {(f"nuc-0{one}", f"nuc-0{other}"): 94 for one in (1, 2, 3, 4) for other in (5, 6, 7, 8)},
            8,
            "Neither is so with all of nuc-01, nuc-06, nuc-08, so look at what lies between them",
            False,
        ),
        ({("nuc-02", "*"): 94}, 2, "No worker is left whose links are good, to tell whose fault it is", False),
    ],
)
def test_a_bad_link_of_the_launcher_or_of_nobody_ends_it(slow: Any, count: int, message: str, launcher: bool) -> None:
    made = measuring(slow, count, unfit="leave_out")
    with pytest.raises(FailedError) as failed:
        made.preflight()
    assert message in str(failed.value)
    assert failed.value.fields.get("launcher_unfit", False) is launcher
    assert made.left_out == []


def test_a_link_without_a_connection_refuses_the_job_whatever_it_must_carry() -> None:
    with pytest.raises(
        FailedError, match=r"nuc-05: no TCP connection from nuc-05 to nuc-01 \(timed out\); MPI takes any"
    ):
        measuring({("nuc-05", "*"): "timed out"}, 6, min_link_mbit=0).preflight()
    unmeasured = measuring({("nuc-05", "*"): "timed out"}, 6, link_seconds=0, min_link_mbit=0)
    unmeasured.preflight()
    assert unmeasured.links == []


def test_an_image_of_before_links_were_measured_trains_without_unless_they_must_carry_something() -> None:
    class Earlier(Container):
        def call(self, command: list[str]) -> tuple[int, str, str]:
            if "edge_training.links" in command:
                return 1, "", "/opt/edge/bin/python: No module named edge_training.links\n"
            return super().call(command)

    probed = {"launcher": {"host": "host-1"}, "workers": [answer(n) for n in (1, 2, 3)]}
    made = job(Earlier([], [], probed))
    made.preflight()
    assert made.links == []
    with pytest.raises(
        FailedError, match="min_link_mbit: the worker image is of before links were measured; set link_seconds"
    ):
        job(Earlier([], [], probed), min_link_mbit=900).preflight()


@pytest.mark.parametrize(
    ("unfit", "changes", "message"),
    [
        (2, {}, "nuc-02: 1 MiB of memory"),
        (2, {"unfit": "leave_out", "min_workers": 3}, "2 of 3 workers are fit, fewer than min_workers (3)"),
        (
            1,
            {"unfit": "leave_out"},
            "nuc-01: starts the job, so it cannot leave itself out; mend it, or run without it",
        ),
        (0, {"unreachable": ["nuc-03"]}, "nuc-03: does not answer"),
        (0, {"unreachable": ["nuc-03"], "reasons": {"nuc-03": "nuc-03 is locked"}}, "- nuc-03 is locked"),
    ],
)
def test_who_may_not_be_left_out_ends_it(unfit: int, changes: dict[str, Any], message: str) -> None:
    workers = [answer(n, memory_available_bytes=(1 << 20) if n == unfit else 4 << 30) for n in (1, 2, 3)]
    made = job(Container([], []), **changes)
    made.launcher.probed = {"launcher": {"host": "host-1"}, "workers": workers[: len(made.workers)]}
    with pytest.raises(FailedError) as failed:
        made.preflight()
    assert message in str(failed.value)
    assert failed.value.fields.get("launcher_unfit", False) is (unfit == 1)


def test_a_training_goes_on_with_the_workers_that_are_left() -> None:
    container = Container([(1, CUT_OFF), (137, KILLED), (0, "")], [["nuc-01", "nuc-03"], ["nuc-01", "nuc-03"]])
    result, _progress = job(container, force=True).train(["mpirun", "first"])
    assert [one["workers"] for one in result["restarts"]] == [["nuc-01", "nuc-03"]] * 2
    assert "the connection to nuc-02 was lost" in result["restarts"][0]["reason"]
    assert result["lost_workers"] == ["nuc-02"]
    assert job(container, force=True).recorded_result() == result
    first, second, _third = container.started
    assert first[7] == ""
    assert second[7] == "again"
    assert json.loads(second[8])["text"].endswith("; going on with 2 of 3 workers from the last checkpoint")
    assert second[second.index("-H") + 1] == "10.10.0.1:1,10.10.0.3:1"
    assert second[-1] == "--resume"
    assert [command[5] for command in container.started] == [
        f"/jobs/digits-1/mpirun{number}.log" for number in ("", "-1", "-2")
    ]
    assert container.stopped == [["10.10.0.1", "10.10.0.3"]] * 2


def test_a_worker_that_answers_again_takes_part_from_the_next_restart_on() -> None:
    container = Container(
        [(1, CUT_OFF), (137, KILLED), (0, "")], [["nuc-01", "nuc-03"], ["nuc-01", "nuc-02", "nuc-03"]]
    )
    result, _progress = job(container, force=True).train(["mpirun", "first"])
    assert [one["workers"] for one in result["restarts"]] == [["nuc-01", "nuc-03"], ["nuc-01", "nuc-02", "nuc-03"]]
    assert result["lost_workers"] == []
    assert json.loads(container.started[2][8])["text"].endswith(
        "; going on with 3 of 3 workers from the last checkpoint"
    )


STOPPED = '{"event": "error", "where": "rank 0 on host-1", "message": "stopped in epoch 3", "cause": "stop"}\n'


def test_what_was_stopped_is_not_begun_again(tmp_path: Path) -> None:
    container = Container([(1, STOPPED + KILLED)], [])
    made = job(container)
    made.stop_file = str(tmp_path / "stop")
    (tmp_path / "stop").touch()
    with pytest.raises(FailedError, match=r"was stopped after 0 s: stopped in epoch 3\. The same task goes"):
        made.train(["mpirun"])
    assert container.stopped == [["10.10.0.1", "10.10.0.2", "10.10.0.3"]]


def test_the_word_to_stop_is_heard_while_ranks_run(tmp_path: Path) -> None:
    """They run on until they are stopped, by the module and on all workers."""

    class Running(Container):
        def finished(self, handle: str) -> int | None:  # type: ignore[override]
            (tmp_path / "stop").touch()
            return super().finished(handle) if self.stopped else None

    container = Running([(1, STOPPED)], [])
    made = job(container)
    made.stop_file = str(tmp_path / "stop")
    with pytest.raises(FailedError, match="was stopped"):
        made.train(["mpirun"])
    assert container.stopped[0] == ["10.10.0.1", "10.10.0.2", "10.10.0.3"]
    assert len(container.started) == 1


def test_a_record_says_the_same_as_its_training_did() -> None:
    """Or a second run would have another result, and a changed report."""
    container = Container([(0, "")], [])
    result, _progress = job(container).train(["mpirun"])
    assert job(container, force=True).recorded_result() == result
    assert result == {"ranks": 2, "restarts": [], "lost_workers": [], "left_out": [], "links": []}
    assert container.files == {"/jobs/digits-1/mpirun.log": ""}


@pytest.mark.parametrize(
    ("runs", "changes", "message"),
    [
        ([(1, TOLD)], {}, "says: data-dir: cannot write"),
        ([(1, CUT_OFF)], {"max_restarts": 0}, "the connection to nuc-02 was lost"),
        ([(1, CUT_OFF), (1, CUT_OFF)], {"max_restarts": 1}, "Log: /jobs/digits-1/mpirun-1.log"),
        ([(1, CUT_OFF)], {"min_workers": 3}, "Left are nuc-01, nuc-03, fewer than min_workers (3)"),
        ([(124, CUT_OFF)], {}, "it took longer than timeout_seconds"),
    ],
)
def test_what_does_not_go_on_says_why(runs: list[tuple[int, str]], changes: dict[str, Any], message: str) -> None:
    container = Container(runs, [["nuc-01", "nuc-03"]] * 2)
    with pytest.raises(FailedError) as failed:
        job(container, **changes).train(["mpirun"])
    assert message in str(failed.value)
    assert container.stopped


def test_ranks_fill_slots_in_order() -> None:
    owners = failures.rank_owners([{**WORKERS[0], "slots": 2}, WORKERS[1]])
    assert owners == {0: "nuc-01", 1: "nuc-01", 2: "nuc-02"}


def test_progress_survives_a_line_cut_short() -> None:
    lines = [
        '{"event": "start", "ranks": 3}',
        '{"event": "epoch", "epoch": 1, "epochs": 9, "loss": 2.5}',
        '{"event": "ep',
    ]
    events = failures.progress_lines("\n".join(lines))
    assert len(events) == 2
    assert failures.last_progress(events) == "the last report was epoch 1 of 9, loss 2.5"
    assert "no epoch was finished" in failures.last_progress(events[:1])
    assert "had not begun" in failures.last_progress([])
