"""One rank, alone, learns the digits; what many ranks need beyond that is tested as plain functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edge_training import bundle, checkpoint, progress, schedule, shards, train, wire
from edge_training.communicator import Alone
from edge_training.parameters import gradient_bytes, parameter_hash
from edge_training.progress import Pace
from edge_training.task import Examples, TaskError, check_task, load_task
from edge_training.tasks.digits import Digits


def settings(folder: Path, **changes: Any) -> train.Settings:
    folders = {f"{name}_dir": folder / name for name in ("data", "models", "checkpoints", "state")}
    return train.Settings(**{"job": "unit", **folders, **changes})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[train.Settings, dict[str, Any]]:
    chosen = settings(tmp_path_factory.mktemp("trained"))
    return chosen, train.run(chosen, Alone())


# -- A whole training ---------------------------------------------------------------------------


def test_digits_are_learned(trained: tuple[train.Settings, dict[str, Any]]) -> None:
    chosen, result = trained
    assert result["accuracy"] >= 0.93
    assert result["loss_last"] < result["loss_first"] / 10
    assert result["held_out"] == 359
    assert len(result["parameter_hashes"]) == 1
    assert json.loads((chosen.folder / "result.json").read_text()) == result


def test_progress_is_one_line_per_event(trained: tuple[train.Settings, dict[str, Any]]) -> None:
    chosen, _ = trained
    events = [json.loads(line) for line in (chosen.folder / "progress.jsonl").read_text().splitlines()]
    # Of an epoch that takes long on a busy machine there are more.
    events = [event for event in events if event["event"] != "step"]
    assert [event["event"] for event in events] == ["start", *["epoch"] * chosen.epochs, "result"]
    assert set(events[1]) >= {"epoch", "epochs", "loss", "accuracy", "seconds", "images_per_second"}


def test_a_pace_tells_when_a_line_is_due_and_what_is_left() -> None:
    clock = iter([100.0, 105.0, 110.0, 112.0, 116.0])
    pace = Pace(20, 60, clock=lambda: next(clock))
    assert not pace.due()
    assert pace.due()
    assert pace.tell(24) == {"steps_per_second": 0.333, "eta_seconds": 108.0}
    assert pace.tell(40) == {"steps_per_second": 4.0, "eta_seconds": 16.0}


def test_long_epochs_are_told_of_while_they_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    chosen = settings(tmp_path, epochs=1)
    train.run(chosen, Alone())
    events = [json.loads(line) for line in (chosen.folder / "progress.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, steps[0]["steps"]))
    assert all(event["loss"] > 0 and event["images_per_second"] > 0 for event in steps)
    assert steps[-1]["eta_seconds"] < steps[0]["eta_seconds"]


def test_the_bundle_answers_as_torch_does(trained: tuple[train.Settings, dict[str, Any]]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    chosen, result = trained
    loaded = bundle.read(Path(result["model_file"]), result["model_digest"])
    assert len(loaded.samples) >= 8
    assert len({sample.truth for sample in loaded.samples}) == 10
    held_out = Digits().dataset("held-out", 0, 1)
    session = onnxruntime.InferenceSession(loaded.onnx, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": held_out.inputs})
    model = Digits().model()
    stored = checkpoint.latest(chosen.checkpoints_dir / chosen.job, chosen.learning())
    assert stored is not None
    model.load_state_dict(stored.model)
    with torch.no_grad():
        expected = model(torch.from_numpy(held_out.inputs)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert (logits.argmax(1) == held_out.targets).mean() == pytest.approx(result["accuracy"])


def test_every_rank_marks_the_last_whole_checkpoint(trained: tuple[train.Settings, dict[str, Any]]) -> None:
    chosen, _ = trained
    assert (chosen.checkpoints_dir / chosen.job / "whole").read_text() == f"{chosen.epochs}\n"


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    unbroken = train.run(settings(tmp_path / "a", epochs=3), Alone())

    class PowerLossError(Exception):
        pass

    class LostAfterTwoEpochs(Alone):
        gathered = 0

        def gather(self, value: Any) -> list[Any]:
            self.gathered += isinstance(value, train.Epoch)
            if self.gathered == 3:
                raise PowerLossError
            return [value]

    broken = settings(tmp_path / "b", epochs=3)
    with pytest.raises(PowerLossError):
        train.run(broken, LostAfterTwoEpochs())
    resumed = train.run(settings(tmp_path / "b", epochs=3, resume=True), Alone())
    assert resumed["parameter_hashes"] == unbroken["parameter_hashes"]
    assert resumed["loss_first"] == unbroken["loss_first"]


def test_a_training_that_begins_anew_leaves_no_checkpoint_of_the_one_before(tmp_path: Path) -> None:
    """Cut in its first epoch it would be resumed as finished."""
    train.run(settings(tmp_path, epochs=3), Alone())
    train.run(settings(tmp_path, epochs=1), Alone())
    folder = tmp_path / "checkpoints" / "unit"
    assert sorted(path.name for path in folder.iterdir()) == [
        "epoch-0001-step-000000-of-000045.pt",
        "epoch-0001-step-000000-of-000045.pt.sha256",
        "whole",
    ]
    assert (folder / "whole").read_text() == "1\n"


def test_a_checkpoint_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        checkpoint.save(tmp_path, checkpoint.Checkpoint(epoch, {}, {}, []), {"seed": 1})
    kept = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert [name[:10] for name in kept] == ["epoch-0002", "epoch-0003"]
    assert len(list(tmp_path.iterdir())) == 4  # with their checksums
    (tmp_path / kept[1]).write_bytes((tmp_path / kept[1]).read_bytes()[:-1])
    found = checkpoint.latest(tmp_path, {"seed": 1})
    assert found is not None
    assert found.epoch == 2
    assert checkpoint.latest(tmp_path, {"seed": 2}) is None
    assert checkpoint.latest(tmp_path / "none", {"seed": 1}) is None


def test_the_compiler_stays_out_of_memory() -> None:
    program = (
        "import sys, torch; from edge_training import lean_torch; assert lean_torch.without_compiler();"
        "weight = torch.zeros(1, requires_grad=True); optimizer = torch.optim.Adam([weight]);"
        "weight.sum().backward(); optimizer.step(); assert not hasattr(sys.modules['torch._dynamo'], 'optimize')"
    )
    folder = str(Path(train.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": folder})


# -- Data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_ranks_share_the_training_part_and_never_see_the_held_out_one(size: int) -> None:
    task = Digits()
    parts = [task.dataset("train", rank, size) for rank in range(size)]
    held_out = task.dataset("held-out", 0, 1)
    assert sum(map(len, parts)) + len(held_out) == 1797
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    rows = [row.tobytes() for part in parts for row in part.inputs]
    unseen = {row.tobytes() for row in held_out.inputs} - set(rows)
    assert len(unseen) >= len(held_out) - 2  # the table itself holds a twin or two
    assert np.bincount(held_out.targets).min() >= 34


def test_a_shard_is_written_once_and_mended_when_damaged(tmp_path: Path) -> None:
    examples, path = shards.local_shard(Digits(), "train", 1, 3, tmp_path)
    assert path == tmp_path / "digits" / "shard-1-of-3.npz"
    written = path.stat().st_mtime_ns
    shards.local_shard(Digits(), "train", 1, 3, tmp_path)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(path.read_bytes()[:-1])
    mended, _ = shards.local_shard(Digits(), "train", 1, 3, tmp_path)
    np.testing.assert_array_equal(mended.inputs, examples.inputs)


# -- The plan of an epoch -----------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(10,), (480, 479, 479), (100, 3, 0), (1, 1, 1, 1)])
def test_all_ranks_take_the_same_steps_and_every_example_counts_once(sizes: tuple[int, ...]) -> None:
    plan = schedule.plan_epoch(sizes, batch_size=32)
    for rank, size in enumerate(sizes):
        parts = schedule.batches(plan, rank, seed=1, epoch=0)
        assert len(parts) == plan.steps
        assert [len(part) for part in parts] == [plan.batch(rank, step) for step in range(plan.steps)]
        assert sorted(np.concatenate(parts)) == list(range(size))
        assert max(map(len, parts)) <= 32
    for step in range(plan.steps):
        weights = [plan.weight(rank, step) for rank in range(len(sizes))]
        assert sum(weights) == pytest.approx(len(sizes))


def test_weighted_ranks_average_to_the_gradient_of_the_whole_batch() -> None:
    plan = schedule.Plan((3, 1), steps=1)
    whole, parts = torch.tensor([1.0, 2.0, 3.0, 6.0]), (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([6.0]))
    averaged = sum(plan.weight(rank, 0) * float(part.mean()) for rank, part in enumerate(parts)) / 2
    assert averaged == pytest.approx(float(whole.mean()))


def test_no_data_at_all_is_said() -> None:
    with pytest.raises(ValueError, match="empty on every rank"):
        schedule.plan_epoch((0, 0), 32)


def test_the_learning_rate_warms_up_and_cools_down() -> None:
    rates = [schedule.learning_rate(0.1, 4, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(0.2)
    assert rates[-1] < 0.02


# -- Hashes and bytes ---------------------------------------------------------------------------


def test_equal_parameters_hash_alike_and_one_bit_tells() -> None:
    torch.manual_seed(1)
    one = Digits().model()
    torch.manual_seed(1)
    other = Digits().model()
    assert parameter_hash(one) == parameter_hash(other)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    assert parameter_hash(one) != parameter_hash(other)
    assert gradient_bytes(one) == 4 * 84306


def test_ring_bytes() -> None:
    assert wire.ring_bytes(1000, 1) == 0
    assert wire.ring_bytes(1000, 2) == 1000
    assert wire.ring_bytes(1000, 4) == 1500


def test_the_interface_is_found_by_its_subnet() -> None:
    assert wire.interface_in("127.0.0.0/8") == "lo"
    assert wire.interface_in("203.0.113.0/24") is None
    assert wire.bytes_sent("lo") >= 0


# -- Tasks --------------------------------------------------------------------------------------


def test_a_task_is_named_in_three_ways(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from edge_training.tasks.digits import Digits\n\n\nclass Mine(Digits):\n    name = 'mine'\n")
    assert load_task("digits").name == "digits"
    assert load_task("edge_training.tasks.digits:Digits").name == "digits"
    assert load_task(f"{file}:Mine").name == "mine"
    with pytest.raises(TaskError, match="has no class 'Other'; it has: Mine"):
        load_task(f"{file}:Other")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("letters", r"'letters' is not a known task \(digits, "),
        ("no.such.package:Task", "cannot import no.such.package"),
        ("/no/such/file.py:Task", "is not a file on this device"),
        ("json:JSONDecoder", "lacks name, classes"),
    ],
)
def test_a_wrong_task_says_what_to_mend(reference: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        load_task(reference)


def test_a_file_that_breaks_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")
    with pytest.raises(TaskError, match=r"broken.py:1: does not load: ZeroDivisionError"):
        load_task(f"{file}:Task")


def test_an_example_must_be_one_float_input() -> None:
    class Wrong(Digits):
        def example_input(self) -> Any:
            return torch.zeros(64)

    with pytest.raises(TaskError, match="example_input"):
        check_task(Wrong(), "wrong")


def test_examples_come_in_pairs() -> None:
    with pytest.raises(TaskError, match="2 inputs but 3 targets"):
        Examples(np.zeros((2, 4), np.float32), np.zeros(3, np.int64))


@pytest.mark.parametrize("wrong", [{"job": "../x"}, {"epochs": 0}, {"learning_rate": -1.0}])
def test_wrong_settings_name_the_field(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=next(iter(wrong))):
        settings(tmp_path, **wrong)
