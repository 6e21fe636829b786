"""The tasks that ship beside the digits, on data that the tests write."""

from __future__ import annotations

import gzip
import json
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edge_training import bundle, export, shards, train
from edge_training.communicator import Alone
from edge_training.task import Task, TaskError, check_task, load_task
from edge_training.tasks import image_folder
from edge_training.tasks.fashion_mnist import FashionMnist, read_idx
from edge_training.tasks.image_folder import ImageFolder
from edge_training.tasks.network import convolutional
from PIL import Image

from tests.unit.training.threads import Thread, ring


def settings(folder: Path, **changes: Any) -> train.Settings:
    folders = {f"{name}_dir": folder / name for name in ("data", "models", "checkpoints", "state")}
    return train.Settings(**{"job": "unit", **folders, **changes})


# -- Fashion-MNIST ------------------------------------------------------------------------------


def write_idx(path: Path, values: Any) -> None:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


@pytest.fixture
def clothes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As few as 200 and 40 images; of class n, row 2n is bright."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for prefix, count in (("train", 200), ("t10k", 40)):
        labels = np.arange(count) % 10
        images = np.random.default_rng(1).integers(0, 40, (count, 28, 28))
        images[np.arange(count), 2 * labels] = 255
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)
    monkeypatch.setenv("EDGE_FASHION_MNIST_DIR", str(folder))
    return folder


def test_fashion_mnist_is_shared_among_ranks_as_bytes(clothes: Path, tmp_path: Path) -> None:
    parts = [FashionMnist().dataset("train", rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [67, 67, 66]
    kept, path = shards.local_shard(FashionMnist(), "train", 1, 3, tmp_path)
    assert kept.inputs.dtype == np.uint8
    assert path.stat().st_size < 67 * 28 * 28 * 2
    inputs, targets = kept.batch(slice(0, 2))
    assert inputs.dtype == torch.float32
    assert inputs.max() == 255
    assert targets.tolist() == [1, 4]


def test_fashion_mnist_is_learned_and_its_bundle_takes_pixels(clothes: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    result = train.run(settings(tmp_path, task="fashion_mnist", epochs=6, batch_size=20, learning_rate=0.01), Alone())
    assert result["accuracy"] >= 0.9
    assert result["task_digest"] is None
    loaded = bundle.read(Path(result["model_file"]), result["model_digest"])
    assert loaded.manifest.input["shape"] == [28, 28]
    session = onnxruntime.InferenceSession(loaded.onnx, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": np.array([one.input for one in loaded.samples], np.float32)})
    assert logits.argmax(1).tolist() == [one.predicted for one in loaded.samples]


def test_missing_or_damaged_clothes_name_the_package(clothes: Path) -> None:
    images = clothes / "t10k-images-idx3-ubyte.gz"
    content = gzip.decompress(images.read_bytes())
    for broken in (content[:-1], content[:5], b"", bytes((0, 0, 9)) + content[3:]):
        images.write_bytes(gzip.compress(broken))
        with pytest.raises(TaskError, match="not a whole IDX file"):
            read_idx(images)
    images.write_bytes(b"no gzip")
    with pytest.raises(TaskError, match=r"damaged.*install dataset-fashion-mnist again"):
        read_idx(images)
    images.unlink()
    with pytest.raises(TaskError, match=r"t10k-images-idx3-ubyte.gz is missing; install the package"):
        FashionMnist().dataset("held-out", 0, 1)


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (28, 28, 1), (5, 200, 3), (256, 256, 3)])
def test_the_network_takes_images_of_any_size(height: int, width: int, channels: int) -> None:
    model = convolutional(height, width, channels, classes=4)
    example = torch.zeros(1, height, width, *([3] if channels == 3 else []))
    assert model(example).shape == (1, 4)
    assert export.to_onnx(model, example)


# -- Images on each device's disk ---------------------------------------------------------------

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def draw(folder: Path, name: str, count: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", size, COLOURS[name]).convert(mode).save(folder / name / f"{size[0]}-{number}.png")


def surveyed(**folders: Path) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, ImageFolder]]:
    tasks = {host: ImageFolder(folder) for host, folder in folders.items()}
    return [(host, task.survey()) for host, task in tasks.items()], tasks


def test_devices_agree_on_all_classes_and_on_the_most_frequent_size(tmp_path: Path) -> None:
    draw(tmp_path / "a", "red", 10)
    draw(tmp_path / "a", "blue", 5)
    draw(tmp_path / "b", "green", 5)
    draw(tmp_path / "b", "red", 2, size=(16, 12))
    (tmp_path / "c").mkdir()
    surveys, tasks = surveyed(a=tmp_path / "a", b=tmp_path / "b", c=tmp_path / "c")
    surveys = json.loads(json.dumps(surveys))
    agreed = {host: task.agree(surveys) for host, task in tasks.items()}
    assert len({(task.classes, task.size, task.channels) for task, _ in agreed.values()}) == 1  # type: ignore[attr-defined]
    task, notes = agreed["b"]
    assert list(check_task(task, "image_folder").classes) == ["blue", "green", "red"]
    assert notes == [
        "a: has no images of green; it learns them from the others",
        "b: has no images of blue; it learns them from the others",
        "b: 2 of 7 images are scaled to 8x8 pixels",
        "c: has no images; it computes nothing, and trains with what the others learn",
    ]
    a, b, c = (agreed[host][0].dataset("train", rank, 3) for rank, host in enumerate("abc"))
    assert [len(a), len(b), len(c)] == [12, 6, 0]
    assert [len(agreed[host][0].dataset("held-out", rank, 3)) for rank, host in enumerate("abc")] == [3, 1, 0]
    assert c.inputs.shape == (0, 8, 8, 3)
    assert [tuple(image[0, 0]) for image in b.inputs] == [COLOURS[task.classes[target]] for target in b.targets]


def test_ranks_of_one_device_share_its_images(tmp_path: Path) -> None:
    for name in COLOURS:
        draw(tmp_path, name, 10, mode="L")
    surveys, tasks = surveyed(a=tmp_path)
    task, notes = tasks["a"].agree([*surveys, ("other", surveys[0][1]), *surveys])
    assert notes == []
    assert task.example_input().shape == (1, 8, 8)
    assert [len(task.dataset("train", rank, 3)) for rank in range(3)] == [12, 24, 12]
    assert len(task.dataset("held-out", 0, 1)) == 6


def test_an_image_folder_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COLOURS:
        draw(tmp_path / "images", name, 20)
    monkeypatch.setenv("EDGE_IMAGE_FOLDER", str(tmp_path / "images"))
    result = train.run(settings(tmp_path, task="image_folder", epochs=5, batch_size=8, learning_rate=0.01), Alone())
    assert result["accuracy"] == 1.0
    assert result["examples_by_rank"] == [48]
    loaded = bundle.read(Path(result["model_file"]))
    assert loaded.manifest.classes == ["blue", "green", "red"]
    assert "scaled to 8 x 8 pixels" in loaded.manifest.preprocessing


def test_devices_with_other_classes_or_none_train_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "images-0", "red", 20)
    draw(tmp_path / "images-0", "blue", 20)
    draw(tmp_path / "images-1", "green", 7)

    def run(communicator: Thread) -> dict[str, Any]:
        here.rank = communicator.rank
        device = tmp_path / f"device-{communicator.rank}"
        chosen = settings(device, task="image_folder", epochs=8, batch_size=8, learning_rate=0.01)
        return train.run(chosen, communicator)

    here = threading.local()
    monkeypatch.setattr(train, "host_name", lambda: f"nuc-{here.rank}")
    monkeypatch.setattr(train, "load_task", lambda reference: ImageFolder(tmp_path / f"images-{here.rank}"))
    result = ring(3, run)[0]
    assert result["examples_by_rank"] == [32, 6, 0]
    assert result["held_out"] == 9
    assert result["accuracy"] == 1.0
    assert len(result["parameter_hashes"]) == 1
    assert [note.split(";")[0] for note in result["notes"]] == [
        "nuc-0: has no images of green",
        "nuc-1: has no images of blue, red",
        "nuc-2: has no images",
    ]


def test_new_images_make_a_new_shard(tmp_path: Path) -> None:
    def examples() -> int:
        surveys, tasks = surveyed(a=tmp_path / "images")
        task: Task = tasks["a"].agree(surveys)[0]
        return len(shards.local_shard(task, "train", 0, 1, tmp_path / "data")[0])

    for name in COLOURS:
        draw(tmp_path / "images", name, 5)
    assert examples() == 12
    draw(tmp_path / "images", "red", 10)
    assert examples() == 16


def test_what_cannot_be_trained_is_refused_before_the_start(tmp_path: Path) -> None:
    draw(tmp_path / "a", "red", 1)
    surveys, tasks = surveyed(a=tmp_path / "a")
    with pytest.raises(TaskError, match=r"together have 1 classes .*put images in"):
        tasks["a"].agree(surveys)
    draw(tmp_path / "b", "red", 1, size=(300, 10))
    draw(tmp_path / "b", "blue", 1, size=(300, 10))
    surveys, tasks = surveyed(b=tmp_path / "b")
    with pytest.raises(TaskError, match="300 x 10 pixels, more than 256 a side"):
        tasks["b"].agree(surveys)
    Image.new("I;16", (8, 8)).save(tmp_path / "a" / "red" / "deep.png")
    with pytest.raises(TaskError, match=r"deep.png has 16 bits a pixel"):
        ImageFolder(tmp_path / "a").survey()
    (tmp_path / "a" / "red" / "deep.png").write_text("no image")
    with pytest.raises(TaskError, match=r"deep.png is not a PNG image"):
        ImageFolder(tmp_path / "a").survey()


def test_an_image_cut_short_is_named(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        draw(tmp_path, name, 1)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "red" / "cut.png")
    content = (tmp_path / "red" / "cut.png").read_bytes()
    (tmp_path / "red" / "cut.png").write_bytes(content[:100])
    surveys, tasks = surveyed(a=tmp_path)
    with pytest.raises(TaskError, match=r"cut.png is damaged: .*; replace or remove it"):
        tasks["a"].agree(surveys)[0].dataset("train", 0, 1)


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_IMAGE_FOLDER", str(tmp_path))
    task = load_task("image_folder")
    assert isinstance(task, image_folder.ImageFolder)
    assert task.folder == tmp_path
