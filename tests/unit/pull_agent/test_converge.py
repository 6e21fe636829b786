# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the device's own does with a good commit, a bad one, and none."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from edge_converge import cli, files, lock, run
from edge_converge.settings import Settings

from .conftest import Rack


def test_a_signed_commit_is_applied_and_what_changed_is_told_from_what_was_put_back(rack: Rack) -> None:
    commit = rack.release("one")
    first = rack.converge()
    assert (first["outcome"], first["commit"], first["subject"]) == ("changed", commit, "Say one")
    assert rack.says == "one"
    assert [(task["name"], task["status"]) for task in first["tasks"]] == [("Message is there", "changed")]

    again = rack.converge()
    assert (again["outcome"], again["tasks"]) == ("ok", [])

    rack.target.write_text("drift\n")
    mended = rack.converge()
    assert (mended["outcome"], mended["changed"], rack.says) == ("corrective", 1, "one")

    rack.release("two")
    assert (rack.converge()["outcome"], rack.says) == ("changed", "two")
    assert [report["outcome"] for report in rack.reports()] == ["changed", "ok", "corrective", "changed"]


def test_a_commit_of_somebody_else_is_refused_and_the_last_good_one_stays(rack: Rack) -> None:
    good = rack.release("good")
    rack.converge()
    for signer, why in (("mallory", "is no signer of"), (None, "is not signed")):
        bad = rack.release("evil", signer)
        rack.target.write_text("drift\n")
        report = rack.converge()
        assert (report["outcome"], report["commit"], rack.says) == ("refused", good, "good")
        assert f"commit {bad[:12]}" in report["error"]
        assert why in report["error"]
    # The next good one, on top of them, is taken.
    rack.release("mended")
    assert (rack.converge()["outcome"], rack.says) == ("changed", "mended")


def test_a_first_commit_that_nobody_signed_is_not_applied_at_all(rack: Rack) -> None:
    rack.release("evil", None)
    report = rack.converge()
    assert report["outcome"] == "refused"
    assert "is not signed" in report["error"]
    assert rack.says == ""


def test_a_history_that_was_rewritten_is_refused(rack: Rack) -> None:
    rack.release("one")
    two = rack.release("two")
    rack.converge()
    rack.git("reset", "--quiet", "--hard", "HEAD~1")
    rack.git("push", "--quiet", "--force", "origin", "main")
    report = rack.converge()
    assert (report["outcome"], report["commit"], rack.says) == ("refused", two, "two")
    assert f"does not follow {two[:12]}" in report["error"]


def test_a_signer_who_was_struck_off_takes_the_release_along(rack: Rack) -> None:
    rack.release("one")
    rack.converge()
    rack.settings.revoked.write_text(rack.public("alice") + "\n")
    rack.target.write_text("drift\n")
    report = rack.converge()
    assert report["outcome"] == "refused"
    assert "signed with a revoked key" in report["error"]
    assert rack.says == "drift"


def test_without_the_control_vm_the_last_good_commit_is_applied_and_it_says_so(rack: Rack) -> None:
    commit = rack.release("one")
    rack.converge()
    shutil.move(rack.site, rack.folder / "away")
    rack.target.write_text("drift\n")
    report = rack.converge()
    assert (report["outcome"], report["commit"], rack.says) == ("corrective", commit, "one")
    assert "does not appear to be a git repository" in report["offline"]
    shutil.move(rack.folder / "away", rack.site)
    assert rack.converge()["offline"] == ""


def test_without_a_control_vm_from_the_start_there_is_nothing_to_apply(rack: Rack) -> None:
    report = rack.converge(url=str(rack.folder / "nowhere"))
    assert report["outcome"] == "waiting"
    assert "does not appear to be a git repository" in report["error"]
    report = rack.converge()
    assert (report["outcome"], report["error"]) == (
        "waiting",
        f"{rack.site} has no branch main: push the site there",
    )


def test_what_somebody_changed_in_the_checkout_is_not_applied(rack: Rack) -> None:
    rack.release("one")
    rack.converge()
    release = rack.settings.checkout / "inventory/rack/group_vars/all/release.yml"
    release.write_text(json.dumps({"message": "evil"}))
    more = rack.settings.checkout / "inventory/rack/host_vars" / rack.settings.device / "more.yml"
    more.parent.mkdir(parents=True)
    more.write_text(json.dumps({"message": "evil"}))
    assert (rack.converge()["outcome"], rack.says) == ("ok", "one")


def test_whoever_looks_at_the_site_meanwhile_finds_it_whole(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a training does that begins while the device converges: it proves the release on what lies there."""
    rack.release("one")
    rack.converge()
    rack.release("two")
    place, over, missing = rack.settings.checkout, threading.Event(), []
    release = place / "inventory/rack/group_vars/all/release.yml"

    def look() -> None:
        while not over.is_set():
            # As often as it can, for the place may be empty for microseconds; but not while Ansible works.
            agent.wait()
            missing.extend(str(path) for path in (place / ".git/HEAD", release) if not path.exists())

    agent, apply = threading.Event(), run.apply

    def applied(settings: Settings) -> int:
        agent.clear()
        try:
            return apply(settings)
        finally:
            agent.set()

    monkeypatch.setattr(run, "apply", applied)
    agent.set()
    looking = threading.Thread(target=look)
    looking.start()
    try:
        assert [rack.converge()["outcome"] for _run in range(2)] == ["changed", "ok"]
    finally:
        over.set()
        looking.join()
    assert missing == []
    assert not list(place.parent.glob("checkout.*"))


@pytest.mark.parametrize("has_exchange", [True, False])
def test_a_folder_takes_anothers_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_exchange: bool) -> None:
    if not has_exchange:
        refusing = SimpleNamespace(renameat2=lambda *_arguments: -1)
        monkeypatch.setattr(files.ctypes, "CDLL", lambda _name: refusing)
    new, place = tmp_path / "new", tmp_path / "place"
    for number in ("1", "2"):
        new.mkdir()
        (new / number).touch()
        files.exchange(new, place)
        assert [path.name for path in place.iterdir()] == [number]
    assert [path.name for path in new.iterdir()] == ["1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "place"]


def test_a_disk_without_room_for_the_site_is_said(rack: Rack) -> None:
    rack.release("one")
    rack.converge()
    # As good as a full disk: nothing can be written there.
    (rack.folder / "nowhere").touch()
    report = rack.converge(checkout=rack.folder / "nowhere/checkout")
    assert report["outcome"] == "failed"
    assert "the site cannot be checked out to" in report["error"] and "look at its disk" in report["error"]
    assert rack.says == "one"


def test_what_git_left_at_a_power_cut_stops_no_later_run(rack: Rack) -> None:
    rack.release("one")
    rack.converge()
    for left in (
        "checkout/.git/index.lock",
        "mirror.git/refs/edge/candidate.lock",
        "mirror.git/refs/heads/verified.lock",
    ):
        (rack.folder / left).touch()
    rack.release("two")
    report = rack.converge()
    assert (report["outcome"], report["offline"], rack.says) == ("changed", "", "two")


def test_a_mirror_that_a_power_cut_broke_is_made_anew_and_goes_back_no_further(rack: Rack) -> None:
    old = rack.release("one")
    new = rack.release("two")
    rack.converge()
    for pack in (rack.settings.mirror / "objects/pack").iterdir():
        pack.chmod(0o600)
        pack.write_bytes(b"")
    rack.git("push", "--quiet", "--force", "origin", f"{old}:main")
    report = rack.converge()
    assert report["outcome"] == "refused"
    assert new[:12] in report["error"]
    rack.git("push", "--quiet", "--force", "origin", f"{new}:main")
    assert (rack.converge()["outcome"], rack.says) == ("ok", "two")


def test_a_task_that_fails_is_named_and_tried_again(rack: Rack) -> None:
    rack.release("bad")
    report = rack.converge()
    assert (report["outcome"], report["error"]) == ("failed", "The message is bad.")
    assert [task["status"] for task in report["tasks"]] == ["changed", "failed"]
    rack.release("good")
    assert rack.converge()["outcome"] == "changed"


def test_one_process_runs_all_modules_of_a_run(rack: Rack) -> None:
    parents = rack.folder / "parents"
    tasks = [{"name": "Module says who runs it", "ansible.builtin.shell": f"echo $PPID >> {parents}"} for _ in range(3)]
    (rack.operator / "local.yml").write_text(json.dumps([{"hosts": "devices", "gather_facts": False, "tasks": tasks}]))
    rack.release("one")
    assert rack.converge()["outcome"] == "changed"
    assert len(parents.read_text().split()) == 3
    assert len(set(parents.read_text().split())) == 1


def test_a_run_that_was_cut_is_reported_by_the_next_one(rack: Rack) -> None:
    rack.release("one")
    cut = {"id": "cut", "device": "nuc-001", "mode": "pull", "started": time.time(), "refused": ""}
    files.write(run.journal(rack.settings), cut)
    run.events(rack.settings).write_text('{"name": "Half", "action": "x", "status": "changed"}\n{"na')
    assert rack.converge()["outcome"] == "changed"
    first, second = rack.reports()
    assert (first["id"], first["outcome"], first["changed"]) == ("cut", "interrupted", 1)
    assert second["outcome"] == "changed"


def test_a_run_waits_for_no_longer_than_it_may_while_a_push_goes_on(rack: Rack) -> None:
    lock.hold("alice on laptop", "1", seconds=60, wait_seconds=0)
    with pytest.raises(lock.BusyError, match="alice on laptop pushes"):
        rack.converge()
    # Another push of hers is another push.
    with pytest.raises(lock.BusyError, match="alice on laptop pushes"):
        lock.hold("alice on laptop", "2", seconds=60, wait_seconds=0)
    lock.release("2")
    with pytest.raises(lock.BusyError, match="alice on laptop pushes"), lock.pull(0):
        pass
    lock.release("1")
    with lock.pull(0):
        pass


def test_a_push_that_died_is_not_waited_for_beyond_its_end(rack: Rack) -> None:
    lock.hold("alice", "1", seconds=0, wait_seconds=0)
    with lock.pull(0):
        pass


def test_a_push_waits_for_a_run(rack: Rack) -> None:
    with lock.pull(0), pytest.raises(lock.BusyError, match="a run goes on"):
        lock.hold("alice", "1", seconds=60, wait_seconds=0)


def test_a_run_that_waits_for_a_dead_push_keeps_no_new_one_away(rack: Rack) -> None:
    lock.hold("alice", "dead", seconds=60, wait_seconds=0)
    waiting = threading.Thread(target=lambda: rack.converge(lock_seconds=60))
    waiting.start()
    try:
        # Told at once who pushes, and not after a minute that a run goes on.
        with pytest.raises(lock.BusyError, match="alice pushes"):
            lock.hold("bob", "new", seconds=60, wait_seconds=10)
    finally:
        lock.release("dead")
        waiting.join()
    assert [report["outcome"] for report in rack.reports()] == ["waiting"]


def test_a_push_needs_no_settings_to_hold_a_device_whose_settings_broke(
    rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = rack.folder / "settings.json"
    broken.write_text("")
    read = cli.Settings.read
    monkeypatch.setattr(cli.Settings, "read", lambda: read(broken))
    assert cli.main(["status"]) == 1
    assert "is no JSON object: configure the device again" in capsys.readouterr().err
    assert cli.main(["hold", "--by=alice", "--push=1"]) == 0
    assert cli.main(["hold", "--by=bob", "--push=2", "--wait=0"]) == 75
    assert cli.main(["release", "--by=alice", "--push=1"]) == 0


def test_a_run_that_was_cut_after_its_report_is_not_reported_twice(rack: Rack) -> None:
    rack.release("one")
    report = rack.converge()
    files.write(run.journal(rack.settings), {"id": report["id"], "started": report["started"]})
    run.end_interrupted(rack.settings)
    assert [one["outcome"] for one in rack.reports()] == ["changed"]
    assert not run.journal(rack.settings).exists()


def test_a_paused_device_leaves_the_timers_runs_out_and_not_those_that_are_asked_for(
    rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.Settings, "read", lambda: rack.settings)
    rack.release("one")
    assert cli.main(["pause", "--hours=1", "--reason=new disk"]) == 0
    assert cli.main(["run"]) == 0
    assert "new disk" in capsys.readouterr().out
    assert rack.says == ""
    lock.NOW.parent.mkdir(exist_ok=True)
    lock.NOW.touch()
    assert cli.main(["run"]) == 0
    assert rack.says == "one"
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "1 changes applied" in said
    assert "paused by" in said
    assert cli.main(["resume"]) == 0
    assert cli.main(["run"]) == 0
    assert cli.main(["status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (state["last"]["outcome"], state["paused"], state["reports_waiting"], state["waits"]) == ("ok", {}, 2, {})


def test_a_device_says_which_wave_it_waits_for_and_when_that_opens(
    rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.Settings, "read", lambda: rack.settings)
    waits = {"wave": 3, "of": 5, "opens": 1796000000}
    (rack.settings.state_dir / "release-wanted.json").write_text(json.dumps({"name": "2026.11", "waits": waits}))
    cli.main(["status"])
    said = capsys.readouterr().out
    assert "keeps its release until its wave is open: wave 3 of 5, which opens 2026-11-30 " in said


def test_now_means_a_run_that_begins_now_though_one_is_about_to_end(
    rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.Settings, "read", lambda: rack.settings)
    rack.release("one")
    rack.converge()
    starts = []

    def systemctl(argv: list[str]) -> subprocess.CompletedProcess[str]:
        starts.append(argv)
        # The first start only waits for the end of the unit that was about to end.
        status = cli.main(["run"]) if len(starts) == 2 else 0
        return subprocess.CompletedProcess(argv, status)

    rack.release("two")
    real = subprocess.run
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda argv, **options: systemctl(argv) if argv[0] == "systemctl" else real(argv, **options),
    )
    assert cli.main(["now"]) == 0
    assert len(starts) == 2
    assert rack.says == "two"
    assert "commit" in capsys.readouterr().out


def test_of_too_many_reports_those_that_say_nothing_new_go_first(rack: Rack) -> None:
    from edge_converge import reports

    for number, outcome in enumerate(["failed", "ok", "ok", "changed", "ok", "ok", "ok"]):
        report = {"id": str(number), "started": 1000.0 + number, "outcome": outcome}
        files.write(rack.settings.spool / f"{report['started']:.3f}-{number}.json", report)
    reports.trim(rack.settings.spool, rack.settings.reports_kept)
    assert [report["id"] for report in rack.reports()] == ["0", "3", "4", "5", "6"]
