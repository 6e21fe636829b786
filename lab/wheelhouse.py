"""Python packages for images, fetched by the machine's own pip: its settings and certificates stay out of images."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import cache, engine
from lab.command import run
from lab.settings import CHECKOUT, LabError, Settings

# Debian 12's Python, which every image of the lab runs.
PYTHON_VERSION = "3.11"
HOROVOD = "horovod==0.28.1"
TRAINING = CHECKOUT / "training"
# Each image lists its contents while it is built; the program that does that has requirements of its own.
BILL_OF_MATERIALS = TRAINING / "images" / "sbom" / "requirements.txt"


def simulators(settings: Settings) -> Path:
    """The wheels of the lab's own image."""
    return _filled(settings, "lab", [CHECKOUT / "lab" / "requirements.txt"])


def predictor(settings: Settings) -> Path:
    """The wheels of the predictor image."""
    requirements = TRAINING / "images" / "predictor-deps" / "requirements.txt"
    return _filled(settings, "predictor", [requirements], apart=[BILL_OF_MATERIALS])


def manager(settings: Settings) -> Path:
    """The wheels of the manager image."""
    requirements = TRAINING / "images" / "manager-deps" / "requirements.txt"
    return _filled(settings, "manager", [requirements], apart=[BILL_OF_MATERIALS])


def control(settings: Settings) -> Path:
    """The wheels of what runs on the control VM."""
    return _filled(settings, "control", [CHECKOUT / "roles" / "control_node" / "files" / "requirements.txt"])


def dashboard(settings: Settings) -> Path:
    """The wheels of the dashboard and of the playbooks that it begins."""
    role = CHECKOUT / "roles" / "dashboard" / "files" / "requirements.txt"
    return _filled(settings, "dashboard", [role, TRAINING / "edge_training" / "dashboard" / "requirements.txt"])


def agent(settings: Settings) -> Path:
    """The wheels that devices converge themselves with."""
    return _filled(settings, "agent", [CHECKOUT / "roles" / "pull_agent" / "files" / "requirements.txt"])


def worker(settings: Settings, docker_host: str, base_image: str) -> Path:
    """The wheels of the worker image, Horovod's among them.

    Horovod is published as source only; the image's own recipe builds it, which takes minutes on two cores.
    """
    images = TRAINING / "images"
    recipes = images / "worker-deps"
    downloads = _filled(
        settings,
        "worker",
        [recipes / "requirements.txt"],
        alone=[recipes / "requirements-digits.txt"],
        apart=[BILL_OF_MATERIALS],
    )
    recipe: tuple[str | Path, ...] = (
        base_image,
        downloads.name,
        recipes / "Dockerfile",
        *sorted(recipes.glob("*.cmake")),
    )
    target = settings.cache / "wheels" / f"worker-horovod-{cache.key(*recipe)}"

    def build(out: Path) -> None:
        context = settings.state / "build" / "horovod"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(images, context / "images")
        shutil.copytree(downloads, context / "wheels" / "worker")
        engine.build(
            docker_host,
            "--target=horovod-wheel",
            f"--output=type=local,dest={out}",
            f"--build-arg=BASE_IMAGE={base_image}",
            context=context,
            dockerfile=context / "images" / "worker-deps" / "Dockerfile",
            log=settings.state / "logs" / "wheels-horovod.log",
        )
        for wheel in downloads.glob("*.whl"):
            (out / wheel.name).hardlink_to(wheel)
        shutil.rmtree(context)

    cache.made(target, build)
    return target


def _filled(
    settings: Settings,
    name: str,
    requirements: list[Path],
    *,
    alone: Sequence[Path] = (),
    apart: Sequence[Path] = (),
) -> Path:
    """A folder with the wheels of `requirements`; its name holds its key.

    Beside them lie those of `alone` without what they need, and those of `apart`, which are installed elsewhere and
    may want other versions of the same.
    """
    key = cache.key(PYTHON_VERSION, platform.machine(), *requirements, *alone, *apart)
    target = settings.cache / "wheels" / f"{name}-{key}"

    def download(out: Path) -> None:
        _pip_download(settings, out, *_for_images(), *_torch_index(), *_files(requirements))
        if cuda := sorted(path.name for path in out.glob("nvidia_*")):
            raise LabError(
                f"the package index gave a CUDA build of PyTorch ({cuda[0]}, ...): set LAB_TORCH_INDEX to an index "
                "with its CPU builds"
            )
        if alone:
            _pip_download(settings, out, *_for_images(), "--no-deps", *_files(alone))
        for file in apart:
            _pip_download(settings, out, *_for_images(), *_files([file]))
        if name == "worker":
            _pip_download(settings, out, "--no-deps", "--no-binary=horovod", "--no-build-isolation", HOROVOD)

    cache.made(target, download)
    return target


def _pip_download(settings: Settings, out: Path, *words: str) -> None:
    log = settings.state / "logs" / f"{out.name}.log"
    run(sys.executable, "-m", "pip", "download", "--quiet", f"--dest={out}", *words, log=log)


def _for_images() -> list[str]:
    """The machine's Python may be another than the images'."""
    machine = platform.machine()
    tags = [*(f"manylinux_2_{glibc}_{machine}" for glibc in (28, 27, 24, 17)), f"manylinux2014_{machine}"]
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={PYTHON_VERSION}",
        *(f"--platform={tag}" for tag in tags),
    ]


def _torch_index() -> list[str]:
    index = os.environ.get("LAB_TORCH_INDEX")
    return [f"--extra-index-url={index}"] if index else []


def _files(requirements: Sequence[Path]) -> list[str]:
    return [f"--requirement={file}" for file in requirements]
