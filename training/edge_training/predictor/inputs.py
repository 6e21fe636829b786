"""What clients send, as the model takes it: nested lists of numbers, or image files."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

IMAGE_TYPES = ("image/png", "image/jpeg")
FORMATS = ("PNG", "JPEG")
# Told by an image's header before anything is unpacked: a few kilobytes may say that they are gigabytes.
MOST_PIXELS = 16_000_000


class InputError(ValueError):
    """Instances that the model cannot take; the message says what it takes."""


def as_inputs(instances: list[Any], shape: list[int]) -> npt.NDArray[np.float32]:
    """Instances as one batch (n, *shape): nested lists of numbers, or `{"b64": image file}`.

    Raises:
        InputError: an instance is not that, named by its place.
    """
    rows = []
    for place, instance in enumerate(instances):
        name = f"instances[{place}]"
        rows.append(_decoded(name, instance, shape) if isinstance(instance, dict) else _numbers(name, instance, shape))
    return np.stack(rows)


def as_image(content: bytes, shape: list[int], name: str = "the body") -> npt.NDArray[np.float32]:
    """A PNG or JPEG file as rows of pixels from 0 to 255, scaled to the model's size, grey or in colours as it takes.

    Raises:
        InputError: the model takes no images, or this is none.
    """
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
        raise InputError(f"{name} is an image, but this model takes {_wanted(shape)} numbers")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(f"{name} has {image.width} x {image.height} pixels; send {MOST_PIXELS} at most")
            if image.mode.startswith("I"):
                raise InputError(f"{name} has 16 bits a pixel; save it with 8")
            plain = image.convert("L" if len(shape) == 2 else "RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{name} is no PNG or JPEG image") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is a damaged image: {error}") from error
    size = (shape[1], shape[0])
    return np.asarray(plain if plain.size == size else plain.resize(size), np.float32)


def _decoded(name: str, instance: dict[str, Any], shape: list[int]) -> npt.NDArray[np.float32]:
    text = instance.get("b64")
    if set(instance) != {"b64"} or not isinstance(text, str):
        raise InputError(f'{name} is a mapping; an image is {{"b64": "..."}}, a PNG or JPEG file in base64')
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{name}.b64 is not base64: {error}") from error
    return as_image(content, shape, name)


def _numbers(name: str, instance: Any, shape: list[int]) -> npt.NDArray[np.float32]:
    wanted = _wanted(shape)
    try:
        row = np.asarray(instance)
    except ValueError as error:
        raise InputError(f"{name} is ragged; this model takes {wanted} numbers") from error
    if list(row.shape) != shape or row.dtype.kind not in "iuf":
        found = " x ".join(map(str, row.shape)) or "a single value"
        kind = "numbers" if row.dtype.kind in "iuf" else "values that are not all numbers"
        raise InputError(f"{name} holds {found} ({kind}); this model takes {wanted} numbers")
    with np.errstate(over="ignore"):
        row = row.astype(np.float32)
    if not np.isfinite(row).all():
        raise InputError(f"{name} holds a number that is not finite")
    return row


def _wanted(shape: list[int]) -> str:
    return " x ".join(map(str, shape))
