"""What a worker says of itself, and which processes are a job's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from edge_training import probe, stop
from PIL import Image


def test_a_clock_is_off_only_by_what_is_certain() -> None:
    assert probe.clock_offset(100.5, 100.0, 101.0) == 0
    assert probe.clock_offset(111.0, 100.0, 101.0) == 10
    assert probe.clock_offset(90.0, 100.0, 101.0) == -10


def test_memory_is_what_programs_could_get() -> None:
    assert probe.available_memory("MemTotal: 100 kB\nMemAvailable:   42 kB\n") == 42 * 1024


def test_a_folder_that_is_not_there_has_no_free_bytes(tmp_path: Path) -> None:
    assert probe.free_bytes(tmp_path / "none") is None
    assert (probe.free_bytes(tmp_path) or 0) > 0


def test_a_worker_says_by_which_interface_it_is_reached() -> None:
    here = probe.about_this_worker({"subnet": "127.0.0.0/8"})
    assert (here["interface"], here["mtu"]) == ("lo", int(Path("/sys/class/net/lo/mtu").read_text()))
    assert probe.about_this_worker({"subnet": "203.0.113.0/24"})["interface"] is None


def test_a_task_says_what_data_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_IMAGE_FOLDER", str(tmp_path))
    monkeypatch.setenv("EDGE_FASHION_MNIST_DIR", str(tmp_path))
    assert "has no images; put some in" in (probe.lacking_data("image_folder") or "")
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "1.png").write_bytes(b"no image")
    assert "1.png is not a PNG image" in (probe.lacking_data("image_folder") or "")
    Image.new("L", (8, 8)).save(tmp_path / "red" / "1.png")
    assert probe.lacking_data("image_folder") is None
    assert "train-images-idx3-ubyte.gz is missing; install" in (probe.lacking_data("fashion_mnist") or "")
    assert probe.lacking_data("digits") is None
    assert probe.lacking_data("/no/such/task.py") is None  # said by the check, with its line


def test_a_request_reaches_a_worker_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ssh", lambda _address, _port, command: ["sh", "-c", command])
    monkeypatch.setenv("PYTHONPATH", str(Path(probe.__file__).parents[1]))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    request = {"workers": [{"name": "a", "address": "-"}], "ssh_port": 1, "subnet": "127.0.0.0/8", "task": None}
    (answer,) = probe.ask_all(request)
    assert answer["facts"]["interface"] == "lo"


def test_a_worker_without_ssh_is_an_error_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 255, "", "ssh: connect to host 10.0.0.1: Connection refused\n")

    monkeypatch.setattr(subprocess, "run", refused)
    answers = probe.ask_all({"workers": [{"name": "a", "address": "10.0.0.1"}], "ssh_port": 2222})
    assert answers == [
        {"name": "a", "address": "10.0.0.1", "error": "ssh: connect to host 10.0.0.1: Connection refused"}
    ]


def test_only_the_named_job_is_stopped() -> None:
    assert stop.belongs_to(["python", "-m", "edge_training.train", "--job", "a", "--seed", "1"], "a")
    assert not stop.belongs_to(["python", "-m", "edge_training.train", "--job", "ab"], "a")
    assert not stop.belongs_to(["python", "-m", "edge_training.stop", "--job", "a"], "a")
    assert stop.is_rank(["python", "-m", "edge_training.train", "--job", "a"])
    assert not stop.is_rank(["mpirun", "-np", "2", "python", "-m", "edge_training.train", "--job", "a"])
    assert stop.belongs_to(["python", "-m", "edge_training.slots", "--job", "a"], "a")
    assert stop.is_rank(["python", "-m", "edge_training.slots", "--job", "a"])
    code = "import time; print('runs', flush=True); time.sleep(300)"
    words = [sys.executable, "-c", code, "edge_training.train", "--job", "unit-test-stop"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as rank:
        try:
            # A process that was begun this moment may not have its command line yet.
            assert rank.stdout is not None and rank.stdout.readline() == b"runs\n"
            assert stop.stop("unit-test-stop") == 1
            assert rank.wait(timeout=60) < 0
        finally:
            rank.kill()
