# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.edge.rack.plugins.action import horovod_job
from ansible_collections.edge.rack.plugins.plugin_utils import live_progress

START = {"event": "start", "ranks": 4, "task": "digits", "parameters": 84306, "examples": 1438}
NOTE = {"event": "note", "text": "nuc-02: has no images of red"}
EPOCH = {"event": "epoch", "epochs": 2, "loss": 0.5, "accuracy": 0.9, "images_per_second": 1000.0}


class Launcher:
    """Answers the plugin's calls: one status a round, and a progress file that grows."""

    def __init__(self, statuses, files):
        self.statuses = statuses
        self.files = files
        self.calls = []

    def execute_module(self, module_name=None, module_args=None, task_vars=None, wrap_async=False):
        if module_name is None:
            self.calls.append("background" if wrap_async else "foreground")
            return {"ansible_job_id": "j1.1", "started": 1} if wrap_async else {"changed": True}
        self.calls.append(module_args["mode"])
        return dict(self.statuses.pop(0)) if module_args["mode"] == "status" else {}

    def command(self, command, sudoable=False):
        lines = self.files.pop(0) if len(self.files) > 1 else self.files[0]
        return {"rc": 0, "stdout": "\n".join(json.dumps(line) for line in lines)}


@pytest.fixture
def shown(monkeypatch):
    lines = []
    monkeypatch.setattr(live_progress.display, "display", lines.append)
    monkeypatch.setattr(live_progress, "PAUSE_SECONDS", 0)
    return lines


def action(launcher, check_mode=False, **args):
    plugin = horovod_job.ActionModule.__new__(horovod_job.ActionModule)
    plugin._task = SimpleNamespace(
        check_mode=check_mode, async_val=0, no_log=False, args={"name": "job", "timeout_seconds": 60, **args}
    )
    plugin._execute_module = launcher.execute_module
    plugin._low_level_execute_command = launcher.command
    plugin.get_shell_option = lambda option, default=None: default
    return plugin


def follow(launcher):
    return action(launcher)._follow("j1.1", 60, {})


def test_each_line_of_progress_is_shown_once(shown):
    first, second = dict(EPOCH, epoch=1), dict(EPOCH, epoch=2)
    launcher = Launcher(
        [
            {"started": 1},
            {"started": 1},
            {"finished": 1, "changed": True, "result": {"ranks": 4}, "ansible_job_id": "j"},
        ],
        [[], [START], [START, NOTE, first], [START, NOTE, first, second]],
    )
    assert follow(launcher) == {"changed": True, "result": {"ranks": 4}}
    assert shown == [
        "job: 4 ranks train digits: 84306 parameters, 1438 examples",
        "job: nuc-02: has no images of red",
        "job: epoch 1 of 2: loss 0.5000, accuracy 0.9000, 1000 images/s",
        "job: epoch 2 of 2: loss 0.5000, accuracy 0.9000, 1000 images/s",
    ]
    assert launcher.calls[-1] == "cleanup"


def test_what_links_carry_is_said_in_one_line(shown):
    ends = (("nuc-01", "nuc-02", 941), ("nuc-02", "nuc-03", 94), ("nuc-03", "nuc-01", 939))
    measured = [{"from": one, "to": other, "bits_per_second": mbit * 1000000} for one, other, mbit in ends]
    told = {"event": "links", "links": measured}
    follow(Launcher([{"started": 1}, {"finished": 1, "changed": True}], [[], [told]]))
    assert shown == ["job: links carry 939 Mbit/s; the slowest, from nuc-02 to nuc-03, 94"]


def test_what_an_earlier_run_left_is_not_shown_again(shown):
    old, new = dict(EPOCH, epoch=1, loss=9.0), dict(EPOCH, epoch=1)
    launcher = Launcher([{"started": 1}, {"finished": 1, "changed": True}], [[START, old], [START, old], [START, new]])
    follow(launcher)
    assert [line for line in shown if "9.0" in line] == []
    assert "job: epoch 1 of 2: loss 0.5000, accuracy 0.9000, 1000 images/s" in shown


def test_a_long_epoch_is_told_of_by_its_steps(shown):
    step = dict(EPOCH, event="step", epoch=1, step=120, steps=400)
    lines = [
        dict(step, eta_seconds=3725.0),
        dict(step, step=240, eta_seconds=130.4),
        dict(EPOCH, epoch=1, eta_seconds=0.0),
    ]
    follow(Launcher([{"started": 1}, {"finished": 1, "changed": True}], [[], [START], [START, *lines]]))
    assert shown[1:] == [
        "job: epoch 1 of 2, step 120 of 400: loss 0.5000, 1000 images/s, 1 h 2 min left",
        "job: epoch 1 of 2, step 240 of 400: loss 0.5000, 1000 images/s, 2 min 10 s left",
        "job: epoch 1 of 2: loss 0.5000, accuracy 0.9000, 1000 images/s",
    ]


def test_at_the_end_the_ring_and_the_slowest_device_are_told_of(shown):
    measured = {"bytes": 337224, "seconds": 0.006, "bus_bits_per_second": 674448000, "link_bits_per_second": 1000000000}
    alone = {"event": "result", "accuracy": 0.96657, "seconds": 6.1, "allreduce": None}
    told = {**alone, "allreduce": measured, "slowest_host": "nuc-02", "slowest_why": "none stands out"}
    virtual = {**told, "allreduce": {**measured, "link_bits_per_second": None}}
    follow(Launcher([{"started": 1}, {"finished": 1, "changed": True}], [[], [alone, told, virtual]]))
    assert shown == [
        "job: accuracy 0.9666 after 6 s",
        "job: accuracy 0.9666 after 6 s; the ring carried 674 Mbit/s of 1000; slowest was nuc-02: none stands out",
        "job: accuracy 0.9666 after 6 s; the ring carried 674 Mbit/s; slowest was nuc-02: none stands out",
    ]


def test_each_line_is_kept_on_the_controller_once(shown, tmp_path):
    file = tmp_path / "jobs" / "job.jsonl"
    launcher = Launcher([{"started": 1}, {"finished": 1, "changed": True}], [[], [START], [START, NOTE]])
    action(launcher, local_progress_file=str(file))._follow("j1.1", 60, {})
    assert [json.loads(line) for line in file.read_text().splitlines()] == [START, NOTE]


class CutLink(Launcher):
    """Does not answer so often, then as before."""

    def __init__(self, times):
        super().__init__([{"finished": 1, "changed": True}], [[], [START]])
        self.times = times

    def execute_module(self, module_name=None, module_args=None, task_vars=None, wrap_async=False):
        if self.times:
            self.times -= 1
            raise AnsibleConnectionFailure("timed out")
        return super().execute_module(module_name, module_args, task_vars, wrap_async)


def test_a_link_that_is_cut_for_a_moment_is_no_end_of_the_training(shown, monkeypatch):
    warned = []
    monkeypatch.setattr(live_progress.display, "warning", warned.append)
    assert action(CutLink(3))._follow("j1.1", 60, {"inventory_hostname": "nuc-1"}) == {"changed": True}
    assert shown == ["job: 4 ranks train digits: 84306 parameters, 1438 examples"]
    assert warned == ["nuc-1 does not answer, it is asked again: timed out"] * 3


def test_a_launcher_that_stays_away_is_unreachable(shown, monkeypatch):
    monkeypatch.setattr(live_progress, "AWAY_SECONDS", 0)
    with pytest.raises(AnsibleConnectionFailure):
        action(CutLink(3))._follow("j1.1", 60, {"inventory_hostname": "nuc-1"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_job_before_it_ends_the_playbook(shown, number):
    ended = []
    before = signal.signal(number, lambda number, _frame: ended.append((number, list(commands))))
    launcher, commands = Launcher([], [[START]]), []

    def execute_module(module_name=None, module_args=None, task_vars=None, wrap_async=False):
        os.kill(os.getpid(), number)
        return {"started": 1}

    def command(command, sudoable=False):
        commands.append(command)
        return launcher.command(command)

    try:
        plugin = action(launcher)
        plugin._execute_module, plugin._low_level_execute_command = execute_module, command
        plugin._follow("j1.1", 60, {})
    finally:
        signal.signal(number, before)
    ((told, known),) = ended
    assert told == number
    assert known[-1] == "touch /var/lib/edge/state/jobs/job/stop"


def test_a_failure_is_handed_on_with_its_message(shown):
    launcher = Launcher([{"finished": 1, "failed": True, "msg": "rank 2 on nuc-003 ended by signal 9"}], [[]])
    answer = follow(launcher)
    assert answer["failed"]
    assert answer["msg"] == "rank 2 on nuc-003 ended by signal 9"


def test_check_mode_runs_the_module_in_the_foreground(shown, monkeypatch):
    monkeypatch.setattr(live_progress.ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    launcher = Launcher([], [[]])
    assert action(launcher, check_mode=True).run() == {"changed": True}
    assert launcher.calls == ["foreground"]


def test_whoever_names_a_file_gets_each_line_with_the_jobs_name(shown, monkeypatch, tmp_path):
    file = tmp_path / "progress.jsonl"
    monkeypatch.setenv("EDGE_PROGRESS_FILE", str(file))
    first = dict(EPOCH, epoch=1)
    done = {"finished": 1, "changed": True, "ansible_job_id": "j"}
    follow(Launcher([{"started": 1}, dict(done)], [[], [START], [START, first]]))
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        dict(START, job="job"),
        dict(first, job="job"),
    ]


def test_a_file_that_cannot_be_written_ends_no_training_and_is_named_once(shown, monkeypatch, tmp_path):
    warned = []
    monkeypatch.setattr(live_progress.display, "warning", warned.append)
    monkeypatch.setenv("EDGE_PROGRESS_FILE", "/proc/nowhere/progress.jsonl")
    done = {"finished": 1, "changed": True, "ansible_job_id": "j"}
    assert follow(Launcher([dict(done)], [[], [START, NOTE]])) == {"changed": True}
    assert shown[0] == "job: 4 ranks train digits: 84306 parameters, 1438 examples"
    assert warned == ["/proc/nowhere/progress.jsonl: No such file or directory: progress is not kept there"]
