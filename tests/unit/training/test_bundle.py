"""A bundle is read only if it is whole and what its digest says."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from edge_training import bundle


def manifest(onnx: bytes = b"graph", **changes: Any) -> bundle.Manifest:
    fields: dict[str, Any] = {
        "format": 1,
        "task": "digits",
        "classes": ["0", "1"],
        "input": {"name": "input", "shape": [2], "dtype": "float32"},
        "output": {"name": "logits", "activation": "softmax"},
        "preprocessing": "none",
        "metrics": {"accuracy": 1.0},
        "trained": {"job": "a"},
        "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
    }
    return bundle.Manifest(**{**fields, **changes})


SAMPLES = [bundle.Sample([0.0, 1.0], 1, 1)]


def tar_of(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = bundle.pack(manifest(), b"graph", SAMPLES)
    assert content == bundle.pack(manifest(), b"graph", SAMPLES)
    digest, path = bundle.write(tmp_path, content)
    assert path.name == f"{digest.removeprefix('sha256:')}.tar"
    loaded = bundle.read(path, digest)
    assert loaded == bundle.Bundle(digest, manifest(), b"graph", SAMPLES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a tar at all", "is not a whole tar"),
        (bundle.pack(manifest(), b"graph", SAMPLES)[:700], "is not a whole tar|missing"),
        (tar_of(__etc__passwd=b"x"), "unexpected member '/etc/passwd'"),
        (tar_of(manifest_json=b"{}"), "model.onnx is missing"),
        (tar_of(manifest_json=b"{", model_onnx=b"", samples_json=b"{}"), "not JSON"),
        (tar_of(manifest_json=b"[]", model_onnx=b"", samples_json=b"{}"), "must be a mapping"),
        (tar_of(manifest_json=b'{"format": 1}', model_onnx=b"", samples_json=b"{}"), "no 'task'"),
        (bundle.pack(manifest(format=2), b"graph", SAMPLES), "format 2"),
        (bundle.pack(manifest(), b"other", SAMPLES), "does not match onnx_sha256"),
        (bundle.pack(manifest(input={"shape": None}), b"graph", SAMPLES), "input.shape"),
        (bundle.pack(manifest(), b"graph", []), "has no samples"),
        (bundle.pack(manifest(), b"graph", [bundle.Sample([], 7, 0)]), "sample 0 is not whole"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.tar"
    path.write_bytes(content)
    with pytest.raises(bundle.BundleError, match=message):
        bundle.read(path)


def test_another_model_is_refused(tmp_path: Path) -> None:
    _, path = bundle.write(tmp_path, bundle.pack(manifest(), b"graph", SAMPLES))
    with pytest.raises(bundle.BundleError, match="deploy the model again"):
        bundle.read(path, "sha256:" + "0" * 64)
    with pytest.raises(bundle.BundleError, match="is not a model digest"):
        bundle.read(path, "latest")
    with pytest.raises(bundle.BundleError, match="No such file"):
        bundle.read(tmp_path / "none.tar")
