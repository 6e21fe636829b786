"""A trained model as one file: a tar of the ONNX graph, what it is, and samples to try it on.

    manifest.json   what the model is (see `Manifest`)
    model.onnx      logits for a batch of inputs
    samples.json    held-out inputs with their true class and the class that the trained model gave them

The tar is uncompressed and without times or owners: the same content gives the same bytes, and so the same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge_training import atomic

FORMAT = 1
MEMBERS = ("manifest.json", "model.onnx", "samples.json")


class BundleError(Exception):
    """A bundle cannot be used; the message says what is wrong with it and what to do."""


@dataclass(frozen=True)
class Sample:
    """One held-out input, its true class (index), and the class that the trained model gave it."""

    input: Any
    truth: int
    predicted: int


@dataclass(frozen=True)
class Manifest:
    """What a model is. `input`: name, shape of one input, dtype. `trained`: ranks, epochs, job, created (UTC)."""

    format: int
    task: str
    classes: list[str]
    input: dict[str, Any]
    output: dict[str, Any]
    preprocessing: str
    metrics: dict[str, float]
    trained: dict[str, Any]
    onnx_sha256: str


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    digest: str
    manifest: Manifest
    onnx: bytes
    samples: list[Sample]


def pack(manifest: Manifest, onnx: bytes, samples: list[Sample]) -> bytes:
    """The bundle's bytes."""
    contents = {
        "manifest.json": _json(asdict(manifest)),
        "model.onnx": onnx,
        "samples.json": _json({"samples": [asdict(sample) for sample in samples]}),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            member = tarfile.TarInfo(name)
            member.size = len(contents[name])
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(contents[name]))
    return buffer.getvalue()


def digest_of(content: bytes) -> str:
    """`sha256:<hex>` of a bundle's bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def write(models_dir: Path, content: bytes) -> tuple[str, Path]:
    """Store the bundle as `<models-dir>/<hex>.tar`; returns its digest and path."""
    digest = digest_of(content)
    path = models_dir / f"{digest.removeprefix('sha256:')}.tar"
    atomic.write_bytes(path, content)
    return digest, path


def read(path: Path, digest: str | None = None) -> Bundle:
    """Read and verify a bundle; with `digest`, only that one.

    Raises:
        BundleError: the file is missing, is not what the digest says, or is not a bundle.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; deploy the model to this device first") from error
    found = digest_of(content)
    if digest is not None and digest != found:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise BundleError(f"{digest!r} is not a model digest: it reads sha256:<64 hex digits>")
        raise BundleError(f"{path} is {found}, not {digest}: the file was damaged or replaced; deploy the model again")
    members = _members(path, content)
    manifest = _manifest(path, members["manifest.json"])
    if hashlib.sha256(members["model.onnx"]).hexdigest() != manifest.onnx_sha256:
        raise BundleError(f"{path}: model.onnx does not match onnx_sha256 in manifest.json; export the model again")
    return Bundle(found, manifest, members["model.onnx"], _samples(path, members["samples.json"], manifest))


def _members(path: Path, content: bytes) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                # Nothing is ever extracted, yet a name such as ../../etc/passwd says enough about its maker.
                if member.name not in MEMBERS or not member.isfile():
                    raise BundleError(f"{path}: unexpected member {member.name!r}; a bundle holds {', '.join(MEMBERS)}")
                if member.name in members:
                    raise BundleError(f"{path}: {member.name} is in it twice; export the model again")
                file = archive.extractfile(member)
                members[member.name] = file.read() if file else b""
    except tarfile.TarError as error:
        raise BundleError(f"{path} is not a whole tar archive: {error}; deploy the model again") from error
    for name in MEMBERS:
        if name not in members:
            raise BundleError(f"{path}: {name} is missing; export the model again")
    return members


def _manifest(path: Path, content: bytes) -> Manifest:
    value = _mapping(path, "manifest.json", content)
    if value.get("format") != FORMAT:
        raise BundleError(f"{path}: format {value.get('format')!r}, but {FORMAT} is read here; update one of the two")
    for field in fields(Manifest):
        if field.name not in value:
            raise BundleError(f"{path}: manifest.json has no {field.name!r}; export the model again")
    manifest = Manifest(**{field.name: value[field.name] for field in fields(Manifest)})
    shape = manifest.input.get("shape") if isinstance(manifest.input, dict) else None
    if not isinstance(shape, list) or not all(isinstance(length, int) and length > 0 for length in shape):
        raise BundleError(f"{path}: input.shape in manifest.json must be a list of lengths; it is {shape!r}")
    return manifest


def _samples(path: Path, content: bytes, manifest: Manifest) -> list[Sample]:
    listed = _mapping(path, "samples.json", content).get("samples")
    if not isinstance(listed, list) or not listed:
        raise BundleError(f"{path}: samples.json has no samples; export the model again")
    samples = []
    for number, entry in enumerate(listed):
        try:
            sample = Sample(entry["input"], entry["truth"], entry["predicted"])
            manifest.classes[sample.truth], manifest.classes[sample.predicted]
        except (KeyError, IndexError, TypeError) as error:
            raise BundleError(f"{path}: sample {number} is not whole ({error!r}); export the model again") from error
        samples.append(sample)
    return samples


def _mapping(path: Path, name: str, content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{path}: {name} is not JSON: {error}; export the model again") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: {name} must be a mapping; export the model again")
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()
