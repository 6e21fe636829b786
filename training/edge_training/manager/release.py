"""What this device may run: the release document, which only root on the device writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from edge_training.problem import ProblemError

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Kind = Literal["worker", "predictor"]


class Release(BaseModel):
    """`images`: a digest by name; `model`: the digest of its bundle, empty before the first training."""

    model_config = ConfigDict(frozen=True)

    name: str
    images: dict[str, Digest]
    model: Annotated[Digest | None, BeforeValidator(lambda value: value or None)] = None


def read(file: Path) -> Release:
    """Anew each time: a release that was withdrawn counts from then on.

    Raises:
        ProblemError: there is none, or it is not to be read.
    """
    try:
        return Release.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        detail = f"{file}: {why}. Bring a release to this device."
        raise ProblemError(503, "The device's release is not known", detail) from error
