"""What a Device Manager is told by its environment."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What a container may use: memory as `512m`, CPUs, processes."""

    memory: str
    cpus: float
    pids: int


@dataclass(frozen=True)
class Settings:
    """Folders are the same here and on the device, for the engine is told to mount them."""

    device_address: str
    worker: Limits
    predictor: Limits
    address: str = "0.0.0.0"  # noqa: S104  # inside its container; the device decides what is published
    port: int = 8470
    predictor_port: int = 8480
    worker_ssh_port: int = 2222
    predictor_right_share: str = "0.8"  # as it was given: a container that was made with 1.0 is not one with 1
    ready_seconds: float = 60
    health_interval_seconds: float = 10.0
    config_dir: Path = Path("/etc/edge-manager")
    root: Path = Path("/var/lib/edge")
    keys_dir: Path = Path("/run/edge-jobs")

    @property
    def models_dir(self) -> Path:
        return self.root / "models"

    @property
    def serving_file(self) -> Path:
        """Which model the Predictor serves; edge-commit writes it."""
        return self.root / "serving" / "model.json"

    @property
    def commits_dir(self) -> Path:
        """Journals of edge-commit."""
        return self.root / "commits"

    @property
    def state_file(self) -> Path:
        return self.root / "manager" / "state.json"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings from EDGE_* variables.

        Raises:
            SystemExit: a variable is missing or makes no sense; the message names it.
        """

        def text(name: str, default: str | None = None) -> str:
            value = environment.get(name) or default
            if value is None:
                raise SystemExit(f"set {name}")
            return value

        def number(name: str, default: str | None = None) -> float:
            given = text(name, default)
            try:
                value = float(given)
            except ValueError:
                value = math.nan
            if not 0 < value < math.inf:
                raise SystemExit(f"{name}={given!r} must be a number greater than 0")
            return value

        def share(name: str, default: str) -> str:
            number(name, default)
            return text(name, default)

        def limits(kind: str, memory: str | None, cpus: str | None, pids: str) -> Limits:
            name = f"EDGE_{kind}_MEMORY"
            amount = text(name, memory)
            if not re.fullmatch(r"[1-9][0-9]*[bkmg]", amount):
                raise SystemExit(f"{name}={amount!r} must be an amount of memory, such as 512m")
            return Limits(amount, number(f"EDGE_{kind}_CPUS", cpus), int(number(f"EDGE_{kind}_PIDS", pids)))

        return cls(
            device_address=text("EDGE_DEVICE_ADDRESS"),
            worker=limits("WORKER", None, None, "512"),
            predictor=limits("PREDICTOR", "512m", "1", "128"),
            address=text("EDGE_MANAGER_ADDRESS", cls.address),
            port=int(number("EDGE_MANAGER_PORT", str(cls.port))),
            predictor_port=int(number("EDGE_PREDICTOR_PORT", str(cls.predictor_port))),
            predictor_right_share=share("EDGE_PREDICTOR_RIGHT_SHARE", cls.predictor_right_share),
            worker_ssh_port=int(number("EDGE_WORKER_SSH_PORT", str(cls.worker_ssh_port))),
            ready_seconds=number("EDGE_READY_SECONDS", str(cls.ready_seconds)),
            health_interval_seconds=number("EDGE_HEALTH_INTERVAL_SECONDS", str(cls.health_interval_seconds)),
            config_dir=Path(text("EDGE_MANAGER_CONFIG", str(cls.config_dir))),
            root=Path(text("EDGE_ROOT", str(cls.root))),
            keys_dir=Path(text("EDGE_JOB_KEYS", str(cls.keys_dir))),
        )
