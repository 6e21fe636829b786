"""The Predictor, over HTTP, with a model whose answers are known: the class of the largest input."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import threading
from collections.abc import Iterator
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
    digest, path = bundle.write(folder, bundle.pack(manifest, onnx, [bundle.Sample(sample, truth, predicted)]))
    return Settings(path, digest, max_body_bytes=4096, max_instances=4)


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
    for settings, reason in (
        (replace(good, model_digest="sha256:" + "0" * 64), "deploy the model again"),
        (replace(good, model_file=tmp_path / "none.tar"), "No such file"),
        (model_file(tmp_path, predicted=0), "sample 0 is class 2 here but was 0"),
        (model_file(tmp_path, truth=1), "0 of 1 held-out samples are right, a share of 0.8 is wanted"),
    ):
        with TestClient(create_app(settings)) as client:
            answer = client.get("/healthz")
            assert answer.status_code == 503
            assert reason in answer.json()["detail"]
            assert client.post("/predictions", json={"instances": [[1, 2, 3]]}).status_code == 503


def test_settings_come_from_the_environment() -> None:
    environment = {"EDGE_MODEL_FILE": "/m.tar", "EDGE_MODEL_DIGEST": "sha256:0", "EDGE_PREDICTOR_PORT": "8481"}
    assert Settings.from_environment(environment).port == 8481
    with pytest.raises(SystemExit, match="EDGE_MODEL_FILE and EDGE_MODEL_DIGEST"):
        Settings.from_environment({})
    with pytest.raises(SystemExit, match="EDGE_PREDICTOR_PORT='http'"):
        Settings.from_environment({**environment, "EDGE_PREDICTOR_PORT": "http"})
    assert Settings.from_environment({**environment, "EDGE_PREDICTOR_RIGHT_SHARE": "0.5"}).right_share == 0.5
    for wrong in ("many", "1.5", "-1"):
        with pytest.raises(SystemExit, match=f"EDGE_PREDICTOR_RIGHT_SHARE='{wrong}' must be a number from 0 to 1"):
            Settings.from_environment({**environment, "EDGE_PREDICTOR_RIGHT_SHARE": wrong})
