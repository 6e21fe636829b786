"""What a Predictor is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Where bundles lie (`<hex>.tar`), the file that says which is served, and the socket that changes it; limits:
    bytes of a request, threads of one answer, answers at a time, requests that may wait; and the share of the model's
    held-out samples that must be told rightly before it is served.
    """

    models_dir: Path = Path("/models")
    serving_file: Path = Path("/serving/model.json")
    socket: Path = Path("/tmp/predictor.sock")  # noqa: S108  # the container's own
    address: str = "0.0.0.0"  # noqa: S104  # inside its container; the device decides what is published
    port: int = 8480
    max_body_bytes: int = 2 << 20
    max_instances: int = 256
    threads: int = 1
    concurrency: int = 2
    max_waiting: int = 64
    right_share: float = 0.8

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings from EDGE_* variables.

        Raises:
            SystemExit: a variable is not a number; the message names it.
        """

        def number(name: str, default: int) -> int:
            text = environment.get(name, str(default))
            if not text.isdigit() or int(text) < 1:
                raise SystemExit(f"{name}={text!r} must be a whole number from 1 up")
            return int(text)

        def share(name: str, default: float) -> float:
            text = environment.get(name, str(default))
            try:
                found = float(text)
            except ValueError:
                found = -1.0
            if not 0 <= found <= 1:
                raise SystemExit(f"{name}={text!r} must be a number from 0 to 1")
            return found

        return cls(
            models_dir=Path(environment.get("EDGE_MODELS_DIR") or cls.models_dir),
            serving_file=Path(environment.get("EDGE_SERVING_FILE") or cls.serving_file),
            socket=Path(environment.get("EDGE_PREDICTOR_SOCKET") or cls.socket),
            address=environment.get("EDGE_PREDICTOR_ADDRESS") or cls.address,
            port=number("EDGE_PREDICTOR_PORT", cls.port),
            max_body_bytes=number("EDGE_PREDICTOR_MAX_BODY_BYTES", cls.max_body_bytes),
            max_instances=number("EDGE_PREDICTOR_MAX_INSTANCES", cls.max_instances),
            threads=number("EDGE_PREDICTOR_THREADS", cls.threads),
            concurrency=number("EDGE_PREDICTOR_CONCURRENCY", cls.concurrency),
            max_waiting=number("EDGE_PREDICTOR_MAX_WAITING", cls.max_waiting),
            right_share=share("EDGE_PREDICTOR_RIGHT_SHARE", cls.right_share),
        )
