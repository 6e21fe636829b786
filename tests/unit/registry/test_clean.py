# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clean-up on a real registry: what goes, what stays, and what is true after it was killed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.registry import clean, program
from ansible_collections.edge.rack.plugins.module_utils.registry.errors import RegistryError, RegistryUnsupported
from ansible_collections.edge.rack.plugins.module_utils.registry.records import RecordError

from tests.unit.registry.distribution import CHECKOUT, DOCKER, OCI, Rack, digest_of, wait_until

READ_ONLY = 'REGISTRY_STORAGE_MAINTENANCE_READONLY={"enabled":true}'
LAST_WEEK, TODAY = "2026-11-21T10:00:00Z", "2026-11-28T10:00:00Z"


def takes_pushes(rack: Rack) -> bool:
    with rack.client() as client:
        return client.accepts_pushes("edge/worker") and not Path(rack.settings().switch).exists()


def names(images: list[dict[str, Any]]) -> set[str]:
    return {image["digest"] for image in images}


@pytest.mark.parametrize("words", [OCI, DOCKER])
def test_a_child_that_an_index_dropped_goes_and_the_shared_child_stays(rack: Rack, words: int) -> None:
    amd = rack.push("edge/worker", layers=[b"common", b"amd64"], words=words)
    arm = rack.push("edge/worker", layers=[b"common", b"arm64"], architecture="arm64", words=words)
    old = rack.push_index("edge/worker", "1", {"amd64": amd, "arm64": arm}, words)
    new = rack.push_index("edge/worker", "1", {"amd64": amd}, words)
    rack.release("2026.11", TODAY, worker=new)

    report = clean.clean(rack.settings())

    assert names(report["dropped"]) == {old, arm}
    assert rack.images() == {amd, new}
    assert rack.whole("edge/worker", new)
    blobs = rack.storage.blobs()
    assert digest_of(b"common") in blobs
    assert digest_of(b"arm64") not in blobs
    assert report["verified"]["manifests"] == 2
    assert report["freed_bytes"] > 0
    # Only while the registry was read-only was garbage collected, and in the end it takes pushes.
    assert rack.restarts()[1:] == ["read-write", READ_ONLY, "read-write"]
    assert takes_pushes(rack)
    assert json.loads((rack.folder / "state" / "last-clean.json").read_text())["result"] == "clean"


def test_an_image_pushed_again_after_its_deletion_is_whole(rack: Rack) -> None:
    keep = rack.push("edge/worker", "2", layers=[b"new"])
    rack.release("2026.11", TODAY, worker=keep)
    again = {"tag": "1", "layers": [b"old", b"older"]}
    first = rack.push("edge/worker", **again)
    assert rack.whole("edge/worker", first)  # the registry remembers its blobs now
    assert names(clean.clean(rack.settings())["dropped"]) == {first}

    assert rack.push("edge/worker", **again) == first

    assert rack.whole("edge/worker", first)
    rack.release("2026.12", "2026-12-01T10:00:00Z", worker=first)
    assert clean.clean(rack.settings())["dropped"] == []
    assert rack.whole("edge/worker", first)


def test_two_tags_on_one_digest_stay_together_and_go_together(rack: Rack) -> None:
    keep = rack.push("edge/worker", "1", layers=[b"kept"])
    assert rack.push("edge/worker", "stable", layers=[b"kept"]) == keep
    gone = rack.push("edge/worker", "0", layers=[b"old"])
    assert rack.push("edge/worker", "oldest", layers=[b"old"]) == gone
    rack.release("2026.11", TODAY, worker=keep)

    report = clean.clean(rack.settings())

    assert [(image["digest"], image["tags"]) for image in report["dropped"]] == [(gone, ["0", "oldest"])]
    with rack.client() as client:
        assert client.tags("edge/worker") == ["1", "stable"]
        assert client.digest("edge/worker", "1") == client.digest("edge/worker", "stable") == keep


def test_of_a_thousand_tags_those_of_the_last_releases_stay(rack: Rack) -> None:
    digests = [rack.push("edge/worker", annotations={"build": str(number)}) for number in range(20)]
    with rack.client() as client:
        manifests = [client.manifest("edge/worker", digest) for digest in digests]
        for number in range(1000):
            manifest = manifests[number % 20]
            assert manifest is not None
            client.put_manifest("edge/worker", f"build-{number}", manifest.content, manifest.media_type)
        assert len(client.tags("edge/worker")) == 1000
    rack.release("2026.10", LAST_WEEK, worker=digests[18])
    rack.release("2026.11", TODAY, worker=digests[19])

    report = clean.clean(rack.settings())

    assert names(report["kept"]) == set(digests[18:])
    assert len(report["dropped"]) == 18
    with rack.client() as client:
        assert len(client.tags("edge/worker")) == 100
        assert client.digest("edge/worker", "build-999") == digests[19]


def test_a_device_that_is_offline_pins_what_it_reported_last(rack: Rack) -> None:
    pinned, rollback, gone = (rack.push("edge/worker", layers=[name]) for name in (b"pinned", b"rollback", b"gone"))
    rack.release("2026.11", TODAY, worker=rack.push("edge/worker", "1"))
    record = rack.device("nuc-007", [f"edge/worker@{pinned}"], [f"registry:5000/edge/worker@{rollback}"])

    report = clean.clean(rack.settings())

    rules = {image["digest"]: image["rules"] for image in report["kept"]}
    assert rules[pinned] == ["device nuc-007 runs it"]
    assert rules[rollback] == ["device nuc-007 rolls back to it"]
    assert names(report["dropped"]) == {gone}
    record.unlink()  # as retiring it does
    assert names(clean.clean(rack.settings())["dropped"]) == {pinned, rollback}


def test_a_run_with_nothing_to_do_verifies_and_restarts_nothing(rack: Rack) -> None:
    rack.release("2026.11", TODAY, worker=rack.push("edge/worker", "1"))
    other = rack.push("site/tool", "1")

    report = clean.clean(rack.settings())

    assert not report["changed"]
    assert report["verified"]["manifests"] == 2
    assert rack.whole("site/tool", other)
    assert rack.restarts() == ["read-write"]


# -- What stops it ---------------------------------------------------------------------------------


@pytest.fixture
def disposable(rack: Rack) -> str:
    """One image in force, and the digest of one that nothing needs."""
    rack.release("2026.11", TODAY, worker=rack.push("edge/worker", "1", layers=[b"kept layer"]))
    return rack.push("edge/worker", "0", layers=[b"disposable"])


def blob_file(rack: Rack, content: bytes) -> Path:
    name = digest_of(content).partition(":")[2]
    return rack.storage.root / "blobs" / "sha256" / name[:2] / name / "data"


def test_nothing_is_deleted_while_a_record_cannot_be_read(rack: Rack, disposable: str) -> None:
    broken = rack.device("nuc-001")
    broken.write_text('{"device": "nuc-001", "runn')

    with pytest.raises(RecordError, match=rf"{broken} cannot be read .* Nothing was deleted\..*edge\.rack\.retire"):
        clean.clean(rack.settings())

    assert disposable in rack.images()
    assert json.loads((rack.folder / "state" / "last-clean.json").read_text())["result"] == "failed"
    broken.unlink()
    assert clean.clean(rack.settings(keep_pushed_seconds=3600))["result"] == "clean"
    # Not even for its recovery: nothing had been touched.
    assert rack.restarts() == ["read-write"]


def test_a_device_whose_report_cannot_be_read_any_more_fails_the_run_and_holds_nothing_up(
    rack: Rack, disposable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = rack.push("edge/worker", "old", layers=[b"pinned"])
    report = rack.device("nuc-001", running=[f"edge/worker@{pinned}"])
    retired = rack.device("nuc-002")
    assert names(clean.clean(rack.settings())["dropped"]) == {disposable}
    retired.unlink()
    gone = rack.push("edge/worker", "0", layers=[b"disposable"])
    report.write_text("{")

    for _run in ("one that cleans", "one with nothing to do"):
        with pytest.raises(
            RegistryError, match=rf"cannot be read: {report} .*The rest is in order.*edge\.rack\.retire"
        ):
            clean.clean(rack.settings())
        assert gone not in rack.images()
        assert rack.whole("edge/worker", pinned)
        assert takes_pushes(rack)
    assert program.main(["--plan", "--settings", str(rack.settings_file)]) == 1
    assert f"UNREAD {report} cannot be read" in capsys.readouterr().out
    assert [one.name for one in (rack.records / "accepted").iterdir()] == [report.name]

    rack.device("nuc-001")
    assert names(clean.clean(rack.settings())["dropped"]) == {pinned}


def test_nothing_is_deleted_while_an_image_of_a_release_is_not_there(rack: Rack, disposable: str) -> None:
    rack.release("2026.10", LAST_WEEK, worker="sha256:" + 64 * "a")

    with pytest.raises(RegistryError, match=r"sha256:a{64} \(release 2026\.10 .*Nothing was deleted"):
        clean.clean(rack.settings())

    assert disposable in rack.images()


def test_a_device_that_needs_what_is_lost_fails_the_run_and_holds_nothing_up(rack: Rack, disposable: str) -> None:
    record = rack.device("nuc-001", ["edge/worker@sha256:" + 64 * "a"])
    for _run in ("one that cleans", "one with nothing to do"):
        with pytest.raises(RegistryError, match=r"sha256:a{64} \(device nuc-001 runs it\).*edge\.rack\.retire"):
            clean.clean(rack.settings())
        assert disposable not in rack.images()
        assert takes_pushes(rack)
        assert len(rack.restarts()) == 4
    record.unlink()
    assert clean.clean(rack.settings())["result"] == "clean"


def test_nothing_is_deleted_while_a_kept_blob_is_not_there(rack: Rack, disposable: str) -> None:
    blob_file(rack, b"kept layer").unlink()

    with pytest.raises(RegistryError, match=f"the blob {digest_of(b'kept layer')} of edge/worker@"):
        clean.clean(rack.settings())

    assert disposable in rack.images()


def test_a_kept_blob_that_is_damaged_fails_the_run_loudly(
    rack: Rack, disposable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    blob_file(rack, b"kept layer").write_bytes(b"kept lay3r")

    assert program.main(["run", "--settings", str(rack.settings_file)]) == 1

    said = capsys.readouterr().err
    assert f"Reading the blob {digest_of(b'kept layer')} of edge/worker" in said
    assert "PUSH THESE IMAGES AGAIN" in said
    report = json.loads((rack.folder / "state" / "last-clean.json").read_text())
    assert (report["result"], report["error"] in said) == ("failed", True)
    assert takes_pushes(rack)


def test_a_kept_blob_that_garbage_collection_took_fails_the_run_loudly(
    rack: Rack, disposable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = clean._collect

    def takes_too_much(*arguments: Any) -> None:
        collect(*arguments)
        blob_file(rack, b"kept layer").unlink()

    monkeypatch.setattr(clean, "_collect", takes_too_much)
    with pytest.raises(RegistryError, match=f"Verifying what was kept: .*blob {digest_of(b'kept layer')}"):
        clean.clean(rack.settings())
    assert takes_pushes(rack)


def test_a_second_run_at_once_is_refused(rack: Rack, disposable: str) -> None:
    settings = rack.settings()
    with (
        clean.locked(settings, 0, "a backup"),
        pytest.raises(RegistryError, match=rf"clean\.lock is held by a backup \(process {os.getpid()}\) since 20"),
    ):
        clean.clean(settings)
    assert disposable in rack.images()


def test_a_plan_waits_for_a_run_that_deletes_and_says_who_it_waited_for(
    rack: Rack, disposable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planning = ["--plan", "--settings", str(rack.settings_file)]
    step = clean.Journal.step
    waiting: list[threading.Thread] = []
    plans: list[Any] = []

    def plan_meanwhile(journal: clean.Journal, name: str, touches: bool = True) -> None:
        step(journal, name, touches)
        if name == "read-only":  # its manifests are gone, and the storage lists them still
            assert program.main([*planning, "--wait", "0"]) == 1
            waiting.append(threading.Thread(target=lambda: plans.append(clean.make_plan(rack.settings()))))
            waiting[0].start()

    monkeypatch.setattr(clean.Journal, "step", plan_meanwhile)
    clean.clean(rack.settings())
    waiting[0].join(timeout=60)

    said = capsys.readouterr().err
    assert "is held by a clean-up (process" in said
    assert "its content is gone" not in said
    assert [plan.decision.dropped for plan in plans] == [[]]


# -- Pushes meanwhile --------------------------------------------------------------------------------


def test_a_push_during_the_clean_up_is_refused_and_can_be_repeated(
    rack: Rack, disposable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = rack.settings()
    collect = clean._collect

    def push_meanwhile(*arguments: Any) -> None:
        assert Path(settings.switch).exists()  # by which the front refuses it before the registry does
        with pytest.raises(RegistryUnsupported):
            rack.push("edge/worker", "2", layers=[b"pushed meanwhile"])
        assert rack.whole("edge/worker", "1")  # pulls go on
        collect(*arguments)

    monkeypatch.setattr(clean, "_collect", push_meanwhile)
    clean.clean(settings)

    assert rack.whole("edge/worker", rack.push("edge/worker", "2", layers=[b"pushed meanwhile"]))


def test_a_push_past_the_front_is_not_deleted(rack: Rack, disposable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = clean.Journal.step

    def push_meanwhile(journal: clean.Journal, name: str, touches: bool = True) -> None:
        step(journal, name, touches)
        if name == "delete":
            assert rack.push("edge/worker", "0", layers=[b"disposable"]) == disposable

    monkeypatch.setattr(clean.Journal, "step", push_meanwhile)
    with pytest.raises(RegistryError, match="it was pushed while the clean-up ran"):
        clean.clean(rack.settings())

    assert rack.whole("edge/worker", disposable)
    assert takes_pushes(rack)


def test_a_push_in_progress_is_let_end_first(rack: Rack, disposable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def ends_after_two_waits(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            monkeypatch.setattr(clean.time, "time", lambda: now + 100)

    now = clean.time.time()
    with rack.client() as client:
        client.put_blob("edge/worker", b"a layer whose manifest comes later")
    monkeypatch.setattr(clean.time, "sleep", ends_after_two_waits)
    monkeypatch.setattr(clean.time, "time", lambda: now)
    clean._wait_for_pushes(
        rack.settings(quiet_seconds=30), rack.storage, clean.make_plan(rack.settings(quiet_seconds=30))
    )
    assert waits == [1.0, 1.0]


# -- Killed -------------------------------------------------------------------------------------------

# The program, killed as it comes to a step, or after its first deletion.
KILLED = """
import os, signal, sys
sys.path.insert(0, "plugins/module_utils")
from registry import clean, client, program
at, settings = sys.argv[1:]
step, delete = clean.Journal.step, client.RegistryClient.delete_manifest
def die(): os.kill(os.getpid(), signal.SIGKILL)
def stepping(journal, name, touches=True):
    step(journal, name, touches)
    if name == at: die()
def deleting(*arguments):
    if at == "one is deleted": delete(*arguments); die()
    return delete(*arguments)
clean.Journal.step, client.RegistryClient.delete_manifest = stepping, deleting
sys.exit(program.main(["run", "--settings", settings]))
"""
STEPS = [
    "look", "wait for pushes", "refuse pushes", "plan", "delete", "one is deleted", "read-only", "collect garbage",
    "verify", "read-write",
]  # fmt: skip


def kill_at(rack: Rack, step: str) -> None:
    command = [sys.executable, "-c", KILLED, step, str(rack.settings_file)]
    killed = subprocess.run(command, cwd=CHECKOUT, env=rack.environment, timeout=60, check=False)
    assert killed.returncode == -9, step


def test_a_kill_at_each_step_is_followed_by_a_run_that_ends_clean(rack: Rack) -> None:
    keep = rack.push("edge/worker", "1", layers=[b"kept layer"])
    rack.release("2026.11", TODAY, worker=keep)
    for number, step in enumerate(STEPS):
        amd = rack.push("edge/worker", layers=[b"amd64 %d" % number])
        gone = {amd, rack.push_index("edge/worker", f"old-{number}", {"amd64": amd})}
        kill_at(rack, step)
        if step == "read-only":
            # The registry may be anything now; the next run is killed as well.
            kill_at(rack, "recover")
        elif number % 2:
            # As the service does when it stops, however it stops.
            assert program.main(["restore", "--settings", str(rack.settings_file)]) == 0
            assert takes_pushes(rack), step
        assert rack.whole("edge/worker", keep), step

        report = clean.clean(rack.settings())

        ended_at = {"look": None, "wait for pushes": None, "one is deleted": "delete"}
        assert report["previous_run_ended_at"] == ended_at.get(step, step)
        assert not gone & rack.images(), step
        assert digest_of(b"amd64 %d" % number) not in rack.storage.blobs(), step
        assert rack.whole("edge/worker", keep), step
        assert takes_pushes(rack), step
        assert not (rack.folder / "state" / clean.JOURNAL).exists(), step


def test_after_a_kill_what_is_missing_can_be_pushed(rack: Rack, disposable: str) -> None:
    kill_at(rack, "collect garbage")
    (blob_file(rack, b"kept layer")).unlink()

    with pytest.raises(RegistryError, match=f"the blob {digest_of(b'kept layer')} of .*Nothing was deleted. Push"):
        clean.clean(rack.settings())

    assert takes_pushes(rack)
    rack.push("edge/worker", "1", layers=[b"kept layer"])
    assert clean.clean(rack.settings())["result"] == "clean"


def test_a_registry_that_was_not_restarted_after_a_kill_is_given_back(rack: Rack, disposable: str) -> None:
    kill_at(rack, "collect garbage")
    # Killed again as it was about to restart the registry, which is read-only until then.
    next((rack.folder / "units").glob("*/*.conf")).unlink()

    assert clean.restore(rack.settings())

    assert takes_pushes(rack)


def is_read(fifo: Path) -> bool:
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        assert error.errno == errno.ENXIO
        return False
    return True


def test_garbage_collection_that_outlives_its_clean_up_keeps_the_lock(rack: Rack, disposable: str) -> None:
    collector = rack.folder / "bin" / "slow-registry"
    # Whoever only looks whether the pipe is read ends its reading; so it is read again.
    wait = f"until read line < {rack.folder}/go; do :; done"
    collector.write_text(f'#!/bin/sh\n{wait}\nexec {rack.settings().program} "$@"\n')
    collector.chmod(0o755)
    subprocess.run(["mkfifo", str(rack.folder / "go")], check=True)
    settings = rack.settings(program=str(collector))
    command = [sys.executable, "-c", KILLED, "never", str(rack.settings_file)]
    with subprocess.Popen(command, cwd=CHECKOUT, env=rack.environment) as cleaning:
        wait_until(lambda: is_read(rack.folder / "go"))
        cleaning.kill()
    # The registry must not take pushes yet: what is pushed now could be collected.
    with pytest.raises(RegistryError, match=r"is held by a clean-up \(process"):
        clean.restore(settings)
    assert Path(settings.switch).exists()
    (rack.folder / "go").write_text("go\n")
    assert clean.restore(settings, wait_seconds=30)
    assert takes_pushes(rack)
    rack.settings()
    assert clean.clean(rack.settings())["result"] == "clean"


@pytest.mark.parametrize("said_by", [signal.SIGTERM, signal.SIGHUP], ids=["a stopped service", "a lost terminal"])
def test_a_run_that_is_told_to_end_gives_the_registry_back(rack: Rack, disposable: str, said_by: int) -> None:
    (rack.folder / "bin" / "stuck").write_text("#!/bin/sh\nexec sleep 60\n")
    (rack.folder / "bin" / "stuck").chmod(0o755)
    rack.settings(program=str(rack.folder / "bin" / "stuck"))
    # Who started the tests with nohup(1) has the signal ignored.
    program = ["env", "--default-signal=HUP", sys.executable, "-c", KILLED]
    command = [*program, "never", str(rack.settings_file)]
    journal = rack.folder / "state" / clean.JOURNAL
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=rack.environment, stderr=subprocess.PIPE, encoding="utf-8"
    ) as cleaning:
        wait_until(lambda: journal.exists() and "collect garbage" in journal.read_text())
        cleaning.send_signal(said_by)
        _out, said = cleaning.communicate(timeout=60)
    assert cleaning.returncode == 1
    assert "stopped; the registry takes pushes" in said
    assert takes_pushes(rack)


def test_a_registry_killed_as_it_deleted_leaves_no_tag_behind(rack: Rack, disposable: str) -> None:
    (rack.storage.revision("edge/worker", disposable) / "link").unlink()

    report = clean.clean(rack.settings())

    assert report["dangling_tags"] == ["edge/worker:0"]
    with rack.client() as client:
        assert client.tags("edge/worker") == ["1"]


# -- The program ----------------------------------------------------------------------------------------


def test_the_dry_run_names_the_rule_for_each_image_and_changes_nothing(
    rack: Rack, disposable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rack.images()
    assert program.main(["--plan", "--settings", str(rack.settings_file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["keep", "drop", "keeps"]
    assert lines[0].endswith("1  0.0 MB  release 2026.11 (in force): worker")
    assert disposable[:19] in lines[1]
    assert lines[1].endswith("no release in force, none of the last 2, no device and no kept image names it")
    assert program.main(["--plan", "--json", "--settings", str(rack.settings_file)]) == 0
    assert names(json.loads(capsys.readouterr().out)["dropped"]) == {disposable}
    assert rack.images() == before
    assert rack.restarts() == ["read-write"]


def test_the_program_needs_nothing_but_python(rack: Rack, disposable: str) -> None:
    """As role registry installs it: the package without what is Ansible's, on the machine's own Python."""
    package = CHECKOUT / "plugins" / "module_utils" / "registry"
    shutil.copytree(package, rack.folder / "registry", ignore=shutil.ignore_patterns("module.py", "__pycache__"))
    start = f"import sys; sys.path[:0] = [{str(rack.folder)!r}]; from registry import program; sys.exit(program.main())"
    command = [sys.executable, "-I", "-S", "-c", start, "--plan", "--settings", str(rack.settings_file)]
    planned = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert planned.stderr == ""
    assert planned.stdout.endswith("keeps 1, drops 1, frees 0.0 MB\n")


def test_a_run_waits_for_the_lock_as_long_as_it_is_told(rack: Rack, disposable: str) -> None:
    settings = rack.settings()
    with clean.locked(settings, 0, "a backup"):
        thread = threading.Thread(target=clean.clean, args=(settings, 60))
        thread.start()
        assert disposable in rack.images()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert disposable not in rack.images()
