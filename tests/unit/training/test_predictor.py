"""The Predictor, over HTTP, with a model whose answers are known: the class of the largest input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

import torch
from edge_training import bundle, export
from edge_training.predictor.app import create_app
from edge_training.predictor.settings import Settings
from fastapi.testclient import TestClient


def model_file(folder: Path, predicted: int = 2) -> Settings:
    onnx = export.to_onnx(torch.nn.Identity(), torch.zeros(1, 3))
    manifest = bundle.Manifest(
        format=1,
        task="largest",
        classes=["a", "b", "c"],
        input={"name": "input", "shape": [3], "dtype": "float32"},
        output={"name": "logits", "activation": "softmax"},
        preprocessing="none",
        metrics={"accuracy": 1.0},
        trained={"job": "unit"},
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
    )
    digest, path = bundle.write(folder, bundle.pack(manifest, onnx, [bundle.Sample([0, 1, 5], 2, predicted)]))
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


def test_an_unknown_path_is_a_problem_too(client: TestClient) -> None:
    assert client.get("/nothing").headers["content-type"] == "application/problem+json"


def test_a_model_that_cannot_be_used_leaves_it_unready_with_the_reason(tmp_path: Path) -> None:
    good = model_file(tmp_path)
    for settings, reason in (
        (replace(good, model_digest="sha256:" + "0" * 64), "deploy the model again"),
        (replace(good, model_file=tmp_path / "none.tar"), "No such file"),
        (model_file(tmp_path, predicted=0), "sample 0 is class 2 here but was 0"),
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
