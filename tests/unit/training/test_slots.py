# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranks of one device are forked from one process, and to mpirun each is a process that it began itself."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from edge_training import slots

from tests.unit.training.waiting import wait_until

SECONDS = 60
until = partial(wait_until, seconds=SECONDS)

# What is imported before the fork counts itself; a rank does what the test's variable says.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
from edge_training import slots

def rank():
    number = int(os.environ["OMPI_COMM_WORLD_RANK"])
    if os.environ["OWN"] == "waits":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(40 + number))
    print(json.dumps({"rank": number, "pid": os.getpid(), "of": os.getppid(), "own": os.environ["OWN"]}), flush=True)
    print("complaint", number, file=sys.stderr, flush=True)
    if os.environ["OWN"] == "waits":
        time.sleep(600)
    if os.environ["OWN"] == "breaks":
        raise ValueError("broken")
    if os.environ["OWN"] == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    return number

def load():
    with Path(os.environ["LOADED"]).open("a") as file:
        file.write("loaded\\n")
    if os.environ.get("LOAD") == "fails":
        raise ImportError("no such thing")
    if os.environ.get("LOAD") == "waits":
        while not Path(os.environ["LOADED"] + ".go").exists():
            time.sleep(0.02)
    return rank

sys.exit(slots.main(load))
"""


class Device:
    """Begins what mpirun would begin on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.begun = folder, list[subprocess.Popen[str]]()

    def begin(self, *own: str, **environment: str) -> None:
        for number, word in enumerate(own):
            mpirun = {
                "PMIX_SERVER_TMPDIR": str(self.folder),
                "OMPI_COMM_WORLD_RANK": str(number),
                "OMPI_COMM_WORLD_LOCAL_RANK": str(number),
                "OMPI_COMM_WORLD_LOCAL_SIZE": str(len(own)),
            }
            more = {
                "OWN": word,
                "LOADED": str(self.folder / "loaded"),
                "PYTHONPATH": str(Path(slots.__file__).parents[1]),
            }
            self.begun.append(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM],
                    env={**os.environ, **mpirun, **more, **environment},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )

    def said(self, number: int) -> dict[str, object]:
        """The first line of a rank."""
        output = self.begun[number].stdout
        assert output is not None
        assert select.select([output], [], [], SECONDS)[0], f"rank {number} says nothing"
        said: dict[str, object] = json.loads(output.readline())
        return said

    def server(self) -> int:
        """The process that ranks are forked from, a child of what stands for rank 0, once it loads."""
        until((self.folder / "loaded").exists, "the first line of what is loaded")
        stands = self.begun[0].pid
        return int(Path(f"/proc/{stands}/task/{stands}/children").read_text())

    def ended(self) -> list[int]:
        return [process.wait(SECONDS) for process in self.begun]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(tmp_path)
    yield one
    for process in one.begun:
        process.kill()
        process.communicate()


def gone(pid: object) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_ranks_need_is_loaded_once_and_each_is_itself(device: Device) -> None:
    device.begin("a", "b", "c")
    said = [device.said(number) for number in range(3)]
    assert [(one["rank"], one["own"]) for one in said] == [(0, "a"), (1, "b"), (2, "c")]
    assert len({one["pid"] for one in said}) == 3
    assert len({one["of"] for one in said}) == 1
    assert (device.folder / "loaded").read_text() == "loaded\n"
    assert device.ended() == [0, 1, 2]
    for number, process in enumerate(device.begun):
        assert process.communicate()[1] == f"complaint {number}\n"
    until(lambda: gone(said[0]["of"]), "nothing is left")


def test_a_rank_that_fails_ends_as_if_mpirun_had_begun_it(device: Device) -> None:
    device.begin("a", "breaks", "crashes")
    assert device.ended() == [0, 1, -signal.SIGSEGV]
    assert "ValueError: broken" in device.begun[1].communicate()[1]


def test_a_signal_reaches_the_rank(device: Device) -> None:
    device.begin("waits", "waits")
    for number in range(2):
        device.said(number)
    # mpirun sends them to a process and its group.
    os.killpg(device.begun[1].pid, signal.SIGTERM)
    assert device.begun[1].wait(SECONDS) == 41
    assert device.begun[0].poll() is None
    os.killpg(device.begun[0].pid, signal.SIGTERM)
    assert device.begun[0].wait(SECONDS) == 40


def test_what_is_killed_takes_its_rank_along_and_no_other(device: Device) -> None:
    device.begin("waits", "waits")
    said = [device.said(number) for number in range(2)]
    device.begun[0].kill()
    until(lambda: gone(said[0]["pid"]), "the end of rank 0")
    assert not gone(said[1]["pid"])
    os.kill(int(str(said[1]["pid"])), signal.SIGKILL)
    assert device.begun[1].wait(SECONDS) == -signal.SIGKILL
    until(lambda: gone(said[0]["of"]), "nothing is left")


def test_with_what_they_are_forked_from_all_are_killed(device: Device) -> None:
    device.begin("waits", "waits")
    said = [device.said(number) for number in range(2)]
    os.kill(int(str(said[0]["of"])), signal.SIGKILL)
    # As mpirun tells it of a rank that it began itself: the job goes on without it, or with it again.
    assert device.ended() == [-signal.SIGKILL, -signal.SIGKILL]
    until(lambda: all(gone(one["pid"]) for one in said), "the end of the ranks")


def test_what_is_killed_while_it_loads_is_lost_as_a_rank_is(device: Device) -> None:
    device.begin("a", "b", LOAD="waits")
    os.kill(device.server(), signal.SIGKILL)
    assert device.ended() == [-signal.SIGKILL, -signal.SIGKILL]


def test_nothing_is_forked_for_what_was_killed_meanwhile(device: Device) -> None:
    device.begin("a", "waits", LOAD="waits")
    server = device.server()
    files = Path(f"/proc/{device.begun[1].pid}/fd")
    until(lambda: any(str(one.readlink()).startswith("socket:") for one in files.iterdir()), "the question of rank 1")
    device.begun[1].kill()
    device.begun[1].wait(SECONDS)
    (device.folder / "loaded.go").touch()
    assert device.begun[0].wait(SECONDS) == 0
    until(lambda: gone(server), "nothing is left")
    assert device.begun[1].communicate()[0] == "", "a rank was forked"


def test_what_cannot_be_loaded_is_said_by_each_and_shown_once(device: Device) -> None:
    device.begin("a", "b", LOAD="fails")
    assert device.ended() == [1, 1]
    first, second = (process.communicate()[1] for process in device.begun)
    assert "Traceback" in first
    error = json.loads(second)
    assert error["message"] == "ImportError: no such thing"
    assert (error["event"], error["where"], error["cause"]) == ("error", f"rank 1 on {os.uname().nodename}", "rank")
