"""The Predictor, over HTTP, with a model whose answers are known: the class of the largest input."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("onnxruntime")

import numpy as np
import torch
from edge_training import bundle, export
from edge_training.predictor.app import create_app
from edge_training.predictor.model import Model
from edge_training.predictor.settings import Settings
from fastapi.testclient import TestClient
from PIL import Image


class Brightest(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Of an image (n, 2, 3) or (n, 2, 3, 3), the column that is the brightest."""

    def forward(self, images: Any) -> Any:
        return images.sum(dim=(1, 3)) if images.dim() == 4 else images.sum(dim=1)


def model_file(
    folder: Path, predicted: int = 2, truth: int = 2, shape: tuple[int, ...] = (3,), sample: Any = (0, 1, 5)
) -> Settings:
    onnx = export.to_onnx(torch.nn.Identity() if len(shape) == 1 else Brightest(), torch.zeros(1, *shape))
    manifest = bundle.Manifest(
        format=1,
        task="largest",
        classes=["a", "b", "c"],
        input={"name": "input", "shape": list(shape), "dtype": "float32"},
        output={"name": "logits", "activation": "softmax"},
        preprocessing="none",
        metrics={"accuracy": 1.0},
        trained={"job": "unit"},
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
    )
    digest, _path = bundle.write(folder, bundle.pack(manifest, onnx, [bundle.Sample(sample, truth, predicted)]))
    file = folder / "model.json"
    file.write_text(json.dumps({"digest": digest}))
    # Not in the test's folder, for a socket's path must be short; its service removes it.
    path = Path(tempfile.gettempdir()) / f"edge-predictor-{os.getpid()}.sock"
    return Settings(folder, file, path, max_body_bytes=4096, max_instances=4)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(model_file(tmp_path))) as client:
        yield client


def test_a_prediction_names_class_and_probability(client: TestClient) -> None:
    answer = client.post("/predictions", json={"instances": [[0, 9, 1], [3.5, 0, 0]]}).json()
    assert [one["label"] for one in answer["predictions"]] == ["b", "a"]
    assert answer["predictions"][0]["index"] == 1
    assert answer["predictions"][0]["probability"] > 0.99
    assert answer["model_digest"] == client.get("/healthz").json()["model_digest"]


def test_it_says_which_model_it_is(client: TestClient) -> None:
    model = client.get("/model").json()
    assert model["task"] == "largest"
    assert model["classes"] == ["a", "b", "c"]
    assert client.get("/samples").json()["samples"][0]["truth"] == {"index": 2, "label": "c"}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "line 1"),
        (b"[]", 422, "instances"),
        (b'{"instances": []}', 422, "at least one"),
        (b'{"instances": [[1, 2]]}', 422, "takes 3 numbers"),
        (b'{"instances": [[1, 2, 3], [[1], 2, 3]]}', 422, r"instances[1] is ragged"),
        (b'{"instances": [["1", "2", "3"]]}', 422, "not all numbers"),
        (b'{"instances": [[1, 2, NaN]]}', 422, "not finite"),
        (json.dumps({"instances": [[1, 2, 3]] * 5}).encode(), 422, "at most 4"),
        (b" " * 5000, 413, "at most 4096 bytes"),
    ],
)
def test_wrong_input_is_a_problem_with_a_remedy(client: TestClient, body: bytes, status: int, detail: str) -> None:
    answer = client.post("/predictions", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert set(answer.json()) == {"type", "title", "status", "detail"}


def image(kind: str, size: tuple[int, int] = (3, 2), column: int = 1, mode: str = "RGB") -> bytes:
    """A black image with one white column."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, column * size[0] // 3 : (column + 1) * size[0] // 3] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.fixture(params=[(2, 3), (2, 3, 3)], ids=["grey", "colours"])
def looking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestClient]:
    """A Predictor whose model takes images."""
    sample = np.zeros(request.param)
    sample[:, 2] = 255
    with TestClient(create_app(model_file(tmp_path, shape=request.param, sample=sample.tolist()))) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "size", "mode"),
    [("PNG", (3, 2), "L"), ("PNG", (3, 2), "RGBA"), ("PNG", (300, 200), "P"), ("JPEG", (96, 64), "RGB")],
)
def test_an_image_is_made_what_the_model_takes(
    looking: TestClient, kind: str, size: tuple[int, int], mode: str
) -> None:
    for column, label in enumerate("abc"):
        content = image(kind, size, column, mode)
        answer = looking.post("/predictions", content=content, headers={"content-type": f"image/{kind.lower()}"})
        assert answer.status_code == 200, answer.text
        assert [one["label"] for one in answer.json()["predictions"]] == [label]
        listed = {"instances": [{"b64": base64.b64encode(content).decode()}] * 2}
        answer = looking.post("/predictions", json=listed)
        assert [one["label"] for one in answer.json()["predictions"]] == [label] * 2


def said(client: TestClient, content: bytes) -> str:
    answer = client.post("/predictions", content=content, headers={"content-type": "image/png"})
    assert answer.status_code == 422
    return str(answer.json()["detail"])


def test_what_is_no_image_is_refused_with_the_reason(
    client: TestClient, looking: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(client, image("PNG")) == "the body is an image, but this model takes 3 numbers"
    assert said(looking, b"GIF89a") == "the body is no PNG or JPEG image"
    file = io.BytesIO()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(file, "GIF")
    assert said(looking, file.getvalue()) == "the body is no PNG or JPEG image"
    assert "damaged" in said(looking, image("PNG", (300, 200))[:-30])
    monkeypatch.setattr("edge_training.predictor.inputs.MOST_PIXELS", 100)
    assert said(looking, image("PNG", (30, 20))) == "the body has 30 x 20 pixels; send 100 at most"
    for wrong, reason in (({"b64": "%"}, "b64 is not base64"), ({"url": "x"}, "is a mapping"), ({"b64": 1}, "mapping")):
        answer = looking.post("/predictions", json={"instances": [wrong]})
        assert answer.status_code == 422
        assert reason in answer.json()["detail"]


def test_it_counts_what_it_answers(client: TestClient) -> None:
    client.post("/predictions", json={"instances": [[0, 9, 1], [3.5, 0, 0], [7, 0, 0]]})
    client.post("/predictions", content=b"{")
    lines = client.get("/metrics").text.splitlines()
    assert 'edge_predictor_predictions_total{label="a"} 2.0' in lines
    assert 'edge_predictor_requests_total{method="POST",route="/predictions",status="200"} 1.0' in lines
    assert 'edge_predictor_requests_total{method="POST",route="/predictions",status="400"} 1.0' in lines
    assert 'edge_predictor_request_seconds_bucket{le="+Inf",route="/predictions"} 2.0' in lines
    digest = client.get("/healthz").json()["model_digest"]
    assert f'edge_predictor_model{{digest="{digest}"}} 1.0' in lines


def test_who_comes_while_the_line_is_full_is_told_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, plain = threading.Event(), Model.classify

    def slow(self: Model, inputs: Any) -> list[dict[str, Any]]:
        go_on.wait(30)
        return plain(self, inputs)

    async def ask() -> list[httpx.Response]:
        app = create_app(replace(model_file(tmp_path), max_waiting=3, concurrency=1))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://predictor") as client,
        ):
            monkeypatch.setattr(Model, "classify", slow)
            body = {"instances": [[1, 2, 3]]}
            asked = [asyncio.create_task(client.post("/predictions", json=body)) for _number in range(3)]
            while "edge_predictor_waiting 3.0" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.01)
            refused = await client.post("/predictions", json=body)
            go_on.set()
            return [refused, *await asyncio.gather(*asked)]

    refused, *answered = asyncio.run(ask())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["title"] == "The Predictor is busy"
    assert [one.status_code for one in answered] == [200] * 3


def test_an_unknown_path_is_a_problem_too(client: TestClient) -> None:
    assert client.get("/nothing").headers["content-type"] == "application/problem+json"


def test_a_model_that_cannot_be_used_leaves_it_unready_with_the_reason(tmp_path: Path) -> None:
    good = model_file(tmp_path)
    for told, reason in (
        (json.dumps({"digest": "sha256:" + "0" * 64}), "deploy the model to this device first"),
        (json.dumps({"digest": "../sha256"}), "is no digest of a model"),
        ("[]", "cannot be read"),
        (model_file(tmp_path, predicted=0).serving_file.read_text(), "sample 0 is class 2 here but was 0"),
        (model_file(tmp_path, truth=1).serving_file.read_text(), "0 of 1 held-out samples are right, a share of 0.8"),
        (None, "no model was activated on this device yet"),
    ):
        good.serving_file.unlink(missing_ok=True)
        if told is not None:
            good.serving_file.write_text(told)
        with TestClient(create_app(good)) as client:
            answer = client.get("/healthz")
            assert answer.status_code == 503
            assert reason in answer.json()["detail"]
            assert client.post("/predictions", json={"instances": [[1, 2, 3]]}).status_code == 503


ACTIVATE = Path(__file__).resolve().parents[3] / "training/images/predictor/activate"


def activate(settings: Settings, digest: str) -> subprocess.CompletedProcess[str]:
    """As it is run in the container."""
    environment = {"EDGE_PREDICTOR_SOCKET": str(settings.socket)}
    command = [sys.executable, str(ACTIVATE), digest]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def digest_of(settings: Settings) -> str:
    return str(json.loads(settings.serving_file.read_text())["digest"])


def test_a_model_takes_anothers_place_and_one_that_is_refused_does_not(tmp_path: Path) -> None:
    first = model_file(tmp_path)
    second = digest_of(model_file(tmp_path, sample=(0, 2, 5)))
    wrong = digest_of(model_file(tmp_path, predicted=0))
    third = digest_of(model_file(tmp_path, sample=(0, 3, 5)))
    (tmp_path / f"{third.removeprefix('sha256:')}.tar").write_bytes(b"cut short")
    before = digest_of(model_file(tmp_path))  # the file names the first again
    with TestClient(create_app(first)) as client:
        assert client.get("/healthz").json()["model_digest"] == before
        done = activate(first, second)
        assert (done.returncode, done.stderr) == (0, "")
        assert client.get("/healthz").json()["model_digest"] == second
        for digest, reason in (
            (wrong, "sample 0 is class 2 here but was 0"),
            (third, "was damaged"),
            ("sha256:" + "0" * 64, "deploy the model to this device first"),
            ("/etc/passwd", "is no digest of a model"),
            ("sha256:" + "0" * 1000, "limit"),
        ):
            done = activate(first, digest)
            assert done.returncode == 3
            assert reason in done.stderr
            assert client.get("/healthz").json()["model_digest"] == second


def test_a_model_makes_ready_what_had_none(tmp_path: Path) -> None:
    settings = model_file(tmp_path)
    digest = digest_of(settings)
    settings.serving_file.unlink()
    with TestClient(create_app(settings)) as client:
        assert client.get("/healthz").status_code == 503
        assert activate(settings, digest).returncode == 0
        assert client.get("/healthz").json()["model_digest"] == digest


def test_a_request_that_is_answered_keeps_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, plain = threading.Event(), Model.classify

    def slow(self: Model, inputs: Any) -> list[dict[str, Any]]:
        go_on.wait(30)
        return plain(self, inputs)

    async def ask() -> tuple[str, str, dict[str, Any], str]:
        second = digest_of(model_file(tmp_path, sample=(0, 2, 5)))
        settings = model_file(tmp_path)
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://predictor") as client,
        ):
            monkeypatch.setattr(Model, "classify", slow)
            asked = asyncio.create_task(client.post("/predictions", json={"instances": [[1, 2, 3]]}))
            while "edge_predictor_waiting 1.0" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.01)
            monkeypatch.setattr(Model, "classify", plain)
            done = await asyncio.to_thread(activate, settings, second)
            assert done.returncode == 0, done.stderr
            now = (await client.get("/healthz")).json()["model_digest"]
            go_on.set()
            return digest_of(settings), second, (await asked).json(), now

    first, second, answer, now = asyncio.run(ask())
    assert answer["model_digest"] == first
    assert now == second


def test_no_request_fails_while_models_take_turns(tmp_path: Path) -> None:
    """A real service, asked by clients that keep their connection and by clients that do not."""
    digests = [digest_of(model_file(tmp_path, sample=sample)) for sample in ((0, 2, 5), (0, 1, 5))]
    settings = model_file(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "EDGE_MODELS_DIR": str(settings.models_dir),
        "EDGE_SERVING_FILE": str(settings.serving_file),
        "EDGE_PREDICTOR_SOCKET": str(settings.socket),
        "EDGE_PREDICTOR_PORT": url.rpartition(":")[2],
        "EDGE_PREDICTOR_ADDRESS": "127.0.0.1",
    }
    command = [sys.executable, "-m", "edge_training.predictor"]
    running = subprocess.Popen(command, env=environment, cwd=Path(__file__).resolve().parents[3] / "training")
    ended = threading.Event()

    def keeps() -> list[tuple[int, str]]:
        with httpx.Client() as client:
            return asks(client.post)

    def asks(post: Any) -> list[tuple[int, str]]:
        answers = []
        while not ended.is_set():
            answer = post(f"{url}/predictions", json={"instances": [[0, 9, 1]]})
            answers.append((answer.status_code, answer.json().get("model_digest", "")))
        return answers

    try:
        assert activate(settings, digests[1]).returncode == 0  # waits until it listens
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
        with ThreadPoolExecutor() as pool:
            asking = [pool.submit(keeps), pool.submit(keeps), pool.submit(asks, httpx.post)]
            try:
                for number in range(10):
                    done = activate(settings, digests[number % 2])
                    assert done.returncode == 0, done.stderr
            finally:
                ended.set()
            answers = [one for each in asking for one in each.result()]
        assert {status for status, _digest in answers} == {200}
        assert {digest for _status, digest in answers} == set(digests)
    finally:
        running.terminate()
        assert running.wait(30) in (0, -15)


def test_a_graph_of_another_shape_than_its_manifest_is_refused(tmp_path: Path) -> None:
    settings = model_file(tmp_path)
    onnx = export.to_onnx(torch.nn.Linear(4, 3), torch.zeros(1, 4))
    manifest = bundle.Manifest(
        format=1,
        task="largest",
        classes=["a", "b", "c"],
        input={"name": "input", "shape": [3], "dtype": "float32"},
        output={"name": "logits", "activation": "softmax"},
        preprocessing="none",
        metrics={},
        trained={},
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
    )
    for shape, classes, reason in (
        ([3], ["a", "b", "c"], "the input of its graph is 4, manifest.json says 3"),
        ([4], ["a", "b"], "the output of its graph is 3, manifest.json says 2"),
    ):
        given = replace(manifest, input={**manifest.input, "shape": shape}, classes=classes)
        digest, _path = bundle.write(tmp_path, bundle.pack(given, onnx, [bundle.Sample([0] * shape[0], 1, 1)]))
        with TestClient(create_app(settings)) as client:
            done = activate(settings, digest)
            assert (done.returncode, reason in done.stderr) == (3, True), done.stderr
            assert client.get("/healthz").json()["model_digest"] == digest_of(settings)


def test_a_sample_that_does_not_fit_its_model_is_refused(tmp_path: Path) -> None:
    settings = model_file(tmp_path, sample=(0, 1))
    with TestClient(create_app(settings)) as client:
        assert "its samples do not fit it" in client.get("/healthz").json()["detail"]


def test_settings_come_from_the_environment() -> None:
    environment = {"EDGE_MODELS_DIR": "/m", "EDGE_SERVING_FILE": "/s/model.json", "EDGE_PREDICTOR_PORT": "8481"}
    assert Settings.from_environment(environment).port == 8481
    assert Settings.from_environment(environment).models_dir == Path("/m")
    assert Settings.from_environment({}).serving_file == Path("/serving/model.json")
    with pytest.raises(SystemExit, match="EDGE_PREDICTOR_PORT='http'"):
        Settings.from_environment({**environment, "EDGE_PREDICTOR_PORT": "http"})
    assert Settings.from_environment({**environment, "EDGE_PREDICTOR_RIGHT_SHARE": "0.5"}).right_share == 0.5
    for wrong in ("many", "1.5", "-1"):
        with pytest.raises(SystemExit, match=f"EDGE_PREDICTOR_RIGHT_SHARE='{wrong}' must be a number from 0 to 1"):
            Settings.from_environment({**environment, "EDGE_PREDICTOR_RIGHT_SHARE": wrong})
