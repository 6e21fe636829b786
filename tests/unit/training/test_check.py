"""A task of the user's own: its files, and what the check finds before a training starts."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge_training import check, train
from edge_training.communicator import Alone
from edge_training.source import Source
from edge_training.task import TaskError, load_task

TASK = """\
import numpy as np
import torch
from torch import nn

from edge_training.task import Examples


class Halves:
    name = "halves"
    classes = ("left", "right")
    preprocessing = "none: four numbers"

    def model(self):
        return nn.Linear(4, 2)

    def dataset(self, split, rank, size):
        inputs = np.random.default_rng(1).random((80, 4), np.float32)
        targets = (inputs[:, 0] > 0.5).astype(np.int64)
        chosen = slice(rank, 60, size) if split == "train" else slice(60 + rank, 80, size)
        return Examples(inputs[chosen], targets[chosen])

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)

    def metrics(self, outputs, targets):
        return {"accuracy": float((outputs.argmax(dim=1) == targets).float().mean())}

    def example_input(self):
        return torch.zeros(1, 4)
"""
CHECK = [sys.executable, "-m", "edge_training.check"]
PACKAGE = str(Path(check.__file__).parents[1])


@pytest.fixture(autouse=True)
def each_test_imports_anew() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def written(folder: Path, text: str = TASK, name: str = "my_halves.py") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


# -- Its files ----------------------------------------------------------------------------------


def test_the_only_task_of_a_file_needs_no_name(tmp_path: Path) -> None:
    file = written(tmp_path, TASK + "\n\nclass Helper:\n    pass\n")
    assert load_task(str(file)).name == "halves"
    file = written(tmp_path, TASK + "\n\nclass Other(Halves):\n    name = 'other'\n", "my_two_halves.py")
    with pytest.raises(TaskError, match=rf"more than one \(Halves, Other\); name one: {file}:Halves"):
        load_task(str(file))
    assert load_task(f"{file}:Other").name == "other"


def test_a_package_may_import_from_itself(tmp_path: Path) -> None:
    task = TASK.replace("nn.Linear(4, 2)", "linear()").replace("from torch", "from .net import linear\nfrom torch")
    written(tmp_path, task, "my_package/__init__.py")
    written(tmp_path, "from torch import nn\n\n\ndef linear():\n    return nn.Linear(4, 2)\n", "my_package/net.py")
    verdict = check.check(str(tmp_path / "my_package"))
    assert verdict.findings == []
    assert verdict.parameters == 10


def test_a_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    file = written(tmp_path)
    listed = subprocess.run(["sha256sum", file.name], cwd=tmp_path, capture_output=True, check=True).stdout
    assert Source(file).digest() == "sha256:" + hashlib.sha256(listed).hexdigest()
    for name in ("pkg/__init__.py", "pkg/B.py", "pkg/a.py", "pkg/sub/c.txt", "pkg/sub.py"):
        written(tmp_path, name, name)
    listing = "find pkg -type f | LC_ALL=C sort | xargs sha256sum"
    listed = subprocess.run(listing, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    assert Source(tmp_path / "pkg").digest() == "sha256:" + hashlib.sha256(listed).hexdigest()
    before = Source(tmp_path / "pkg").digest()
    for name in ("pkg/__pycache__/a.txt", "pkg/.git/config", "pkg/x.pyc"):
        written(tmp_path, name, name)
    assert Source(tmp_path / "pkg").digest() == before


def test_a_task_may_not_hide_another_module(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="there is a module 'calendar' already; give yours another name"):
        load_task(str(written(tmp_path, name="calendar.py")))


def test_a_name_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"name: '../halves': use lower-case letters"):
        load_task(str(written(tmp_path, TASK.replace('"halves"', '"../halves"'))))


# -- What the check finds -----------------------------------------------------------------------


def test_a_sound_task_has_no_findings_and_trains(tmp_path: Path) -> None:
    file = written(tmp_path)
    verdict = check.check(str(file), ranks=4)
    assert verdict == check.Verdict("halves", Source(file).digest(), 10, [4], ["left", "right"])
    folders: dict[str, Any] = {f"{name}_dir": tmp_path / name for name in ("data", "models", "checkpoints", "state")}
    chosen = train.Settings(job="unit", task=str(file), task_digest=verdict.digest, epochs=2, **folders)
    assert train.run(chosen, Alone())["task_digest"] == verdict.digest
    # Another version of the file is not trained under the old one's name, nor from the old one's examples.
    written(tmp_path, TASK.replace("> 0.5", "> 0.4"))
    with pytest.raises(TaskError, match=f"here, not {verdict.digest}; give every worker the same files"):
        train.run(chosen, Alone())
    rank = train.prepare(train.Settings(job="unit", task=str(file), **folders), Alone(), threading.Event())
    np.testing.assert_array_equal(rank.train.targets, rank.train.inputs[:, 0] > 0.4)


@pytest.mark.parametrize(
    ("wrong", "right", "finding"),
    [
        ("import numpy as np", "import numpy as np\nimport nosuch", ":2: does not load: ModuleNotFoundError"),
        ('    name = "halves"', "    name = = 1", ":9: does not load: SyntaxError: invalid syntax"),
        ("nn.Linear(4, 2)", "nn.Linear(4, 3)", r":13: model: gives \(1, 3\) for 1 example.*give \(1, 2\)"),
        ("nn.Linear(4, 2)", "nn.Linear(5, 2)", ":13: model: RuntimeError: mat1 and mat2 shapes"),
        ("nn.Linear(4, 2)", "nn.Lin(4, 2)", ":14: model: AttributeError"),
        ("nn.Linear(4, 2)", "4", ":13: model: returns int; return a torch.nn.Module"),
        ("nn.Linear(4, 2)", "nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))", ":13: model: ValueError: Exp"),
        ("Examples(inputs[chosen]", "Examples(inputs[chosen][1:]", r":20: dataset: \d+ inputs but \d+ targets"),
        ("inputs[:, 0] > 0.5", "inputs[:, 0] * 9", r":16: dataset: targets go from 0 to \d, `classes` from 0 to 1"),
        ("random((80, 4), np.float32)", "random((80, 4))", ":16: dataset: inputs are float64; make them float32"),
        ("random((80, 4)", "random((80, 5)", r":16: dataset: an input is \(5,\), example_input is \(4,\)"),
        ("(outputs, targets)\n\n    def metrics", "(outputs, targets) / 0\n\n    def metrics", ":22: loss: is inf"),
        ("cross_entropy(outputs, targets)", "cross_entropy(outputs)", ":23: loss: TypeError"),
        ('{"accuracy":', '{"precision":', ":25: metrics: must return a dict with `accuracy`"),
        ("float((outputs.argmax(dim=1) == targets).float().mean())", "targets", ":25: metrics: accuracy must be"),
        ("    def loss", "    def cost", "lacks loss; see edge_training.task.Task"),
    ],
)  # fmt: skip
def test_a_finding_points_to_the_line(tmp_path: Path, wrong: str, right: str, finding: str) -> None:
    assert wrong in TASK
    file = written(tmp_path, TASK.replace(wrong, right))
    verdict = check.check(str(file))
    assert len(verdict.findings) == 1
    assert str(file) in verdict.findings[0]
    assert re.search(finding, verdict.findings[0]), verdict.findings[0]


def test_all_that_can_be_tried_is_tried(tmp_path: Path) -> None:
    file = written(tmp_path, TASK.replace('{"accuracy":', '{"a":').replace("nn.Linear(4, 2)", "Odd()") + """

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.used(inputs) + torch.special.i1e(inputs).sum()
""")  # fmt: skip
    findings = "\n".join(check.check(f"{file}:Halves").findings)
    assert f"{file}:13: model: cannot be exported to ONNX" in findings
    assert f"{file}:22: loss: does not depend on idle.weight, idle.bias" in findings
    assert f"{file}:25: metrics" in findings


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        ("self.used(inputs.reshape(int(len(inputs)), 4))", "exported to ONNX, it fails for two examples"),
        ("self.used(inputs) * len(inputs)", "exported to ONNX, it answers two examples otherwise than in torch"),
    ],
)
def test_a_graph_that_is_good_for_one_example_only_is_found(tmp_path: Path, answer: str, finding: str) -> None:
    file = written(tmp_path, TASK.replace("nn.Linear(4, 2)", "Odd()") + f"""

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Linear(4, 2)

    def forward(self, inputs):
        return {answer}
""")  # fmt: skip
    (found,) = check.check(f"{file}:Halves").findings
    assert found.startswith(f"{file}:13: model: {finding}")


def test_batch_norm_is_noted(tmp_path: Path) -> None:
    convolution = "nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2))"
    verdict = check.check(str(written(tmp_path, TASK.replace("nn.Linear(4, 2)", convolution))))
    assert verdict.findings == []
    assert "GroupNorm" in verdict.notes[0]


def test_the_command_speaks_to_people_and_to_programs(tmp_path: Path) -> None:
    file = written(tmp_path)
    good = subprocess.run(
        [*CHECK, file.name], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": PACKAGE}
    )
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith("halves can train: 10 parameters, inputs of [4], 2 classes, sha256:")
    written(tmp_path, TASK.replace("nn.Linear(4, 2)", "nn.Linear(4, 3)"))
    bad = subprocess.run([*CHECK, "--json", str(file)], capture_output=True, text=True, env={"PYTHONPATH": PACKAGE})
    assert bad.returncode == 1
    assert "give (1, 2)" in json.loads(bad.stdout)["findings"][0]


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "tasks.md"
    (text,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert "/var/lib/edge/data/vibration" in text
    file = written(tmp_path, text.replace("/var/lib/edge/data/vibration", str(tmp_path)), "my_bearings.py")
    (finding,) = check.check(str(file)).findings
    assert re.search(r"my_bearings.py:\d+: .*fine.csv is missing; record the machine first", finding)
    for scale, name in enumerate(("fine", "worn"), start=1):
        quiet = np.random.default_rng(1).normal(0, 0.1, (50, 64))
        np.savetxt(tmp_path / f"{name}.csv", quiet + np.sin(np.arange(64) * scale), delimiter=",")
    assert check.check(str(file)).findings == []
    folders: dict[str, Any] = {f"{name}_dir": tmp_path / name for name in ("data", "models", "checkpoints", "state")}
    result = train.run(train.Settings(job="unit", task=str(file), **folders), Alone())
    assert result["accuracy"] == 1.0
    assert result["examples_by_rank"] == [80]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("{}['lost']", "my_halves.py:17: KeyError: 'lost'"),
        ("int('no')", "my_halves.py:17: ValueError: invalid literal"),
        ("Examples(np.zeros(2), np.zeros(1))", "my_halves.py:17: dataset: 2 inputs but 1 targets"),
    ],
)
def test_a_fault_that_only_the_training_meets_has_its_line_too(tmp_path: Path, fault: str, message: str) -> None:
    file = written(tmp_path, TASK.replace("        inputs = np", f"        {fault}\n        inputs = np"))
    assert message in last_words(tmp_path, str(file))


def test_a_task_that_is_none_is_said_by_the_training_too(tmp_path: Path) -> None:
    assert "'nosuch' is not a known task (digits, fashion_mnist, image_folder)" in last_words(tmp_path, "nosuch")


def last_words(tmp_path: Path, task: str) -> str:
    command = [sys.executable, "-m", "edge_training.train", "--job", "unit", "--task", task]
    command += [f"--{name}-dir={tmp_path / name}" for name in ("data", "models", "checkpoints", "state")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": PACKAGE})
    assert done.returncode == 1
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["event"] == "error"
    message: str = said["message"]
    return message
