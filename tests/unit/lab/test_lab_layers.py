"""Light devices: what the shell program that links layers makes of two engines' folders."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.metal.layers import LINK


def layer(root: Path, volume: str, name: str, content: str) -> Path:
    """A layer as an engine keeps it: its record in layerdb, its files in overlay2. Returns its one file."""
    data = root / volume / "_data"
    record = data / "image/overlay2/layerdb/sha256" / name
    record.mkdir(parents=True)
    (record / "cache-id").write_text(f"cache-{name}")
    folder = data / "overlay2" / f"cache-{name}"
    (folder / "diff/usr").mkdir(parents=True)
    (folder / "work").mkdir()
    (folder / "link").write_text(f"SHORT{name.upper()}")
    (folder / "committed").write_text("")
    (folder / "diff/usr/file").write_text(content)
    (data / "overlay2/l").mkdir(exist_ok=True)
    for kind in ("imagedb", "distribution"):
        (data / "image/overlay2" / kind).mkdir(exist_ok=True)
        (data / "image/overlay2" / kind / name).write_text("known")
    (data / "image/overlay2/repositories.json").write_text("{}")
    return folder / "diff/usr/file"


def link(root: Path, volume: str, *sources: str) -> None:
    (root / volume / "_data").mkdir(parents=True, exist_ok=True)
    subprocess.run(["/bin/sh", "-c", LINK, "link", str(root), volume, *sources], check=True)


def test_a_layer_is_there_once_and_known_to_the_devices_engine(tmp_path):
    original = layer(tmp_path, "registry", "aa", "of 1 GB")
    link(tmp_path, "device", "registry")
    data = tmp_path / "device/_data"
    linked = data / "overlay2/cache-aa/diff/usr/file"
    assert linked.samefile(original)
    assert (data / "overlay2/l/SHORTAA/usr/file").samefile(original)
    assert (data / "overlay2/cache-aa/committed").exists()
    assert (data / "overlay2/cache-aa/work").is_dir()
    assert (data / "image/overlay2/layerdb/sha256/aa/cache-id").read_text() == "cache-aa"
    assert {entry.name for entry in (data / "image/overlay2").iterdir()} == {"imagedb", "layerdb", "distribution"}


def test_what_a_device_does_to_its_records_and_layers_reaches_nobody_else(tmp_path):
    original = layer(tmp_path, "registry", "aa", "of 1 GB")
    link(tmp_path, "device", "registry")
    data = tmp_path / "device/_data"
    (data / "image/overlay2/layerdb/sha256/aa/cache-id").write_text("another")
    (data / "overlay2/cache-aa/diff/usr/file").unlink()
    assert original.read_text() == "of 1 GB"
    assert (tmp_path / "registry/_data/image/overlay2/layerdb/sha256/aa/cache-id").read_text() == "cache-aa"


def test_layers_are_of_one_engine_and_a_vm_without_images_is_no_fault(tmp_path):
    (tmp_path / "maas/_data/image/overlay2/layerdb/sha256").mkdir(parents=True)
    layer(tmp_path, "registry", "aa", "one")
    layer(tmp_path, "registry2", "bb", "two")
    link(tmp_path, "device", "maas", "registry", "registry2")
    layers = tmp_path / "device/_data/image/overlay2/layerdb/sha256"
    assert {entry.name for entry in layers.iterdir()} == {"aa"}
