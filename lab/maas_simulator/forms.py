"""Request bodies: multipart, urlencoded and JSON become the same multi-valued fields.

MAAS's own client sends every multipart part base64-encoded, which Django decodes and most form parsers do
not; so the parser is here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

from lab.maas_simulator.answer import TEXT, Answer
from lab.maas_simulator.errors import RefusedError, bad_request

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


class Fields:
    """The fields of a query or a body; each name may come more than once."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = list(pairs)

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def names(self) -> list[str]:
        """Each name once, in order."""
        return list(dict.fromkeys(key for key, _ in self.pairs))

    def all(self, name: str) -> list[str]:
        """Every value of a name."""
        return [value for key, value in self.pairs if key == name]

    def get(self, name: str, default: str = "") -> str:
        """The last value of a name, as Django's QueryDict."""
        values = self.all(name)
        return values[-1] if values else default

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean as formencode's StringBool reads it."""
        value = self.get(name).strip().lower()
        if value == "":
            return default
        if value in _TRUE | _FALSE:
            return value in _TRUE
        raise bad_request("Value should be 'true' or 'false'")


def parse_body(content_type: str, body: bytes, release: tuple[int, int]) -> Fields:
    """The fields of a POST or PUT."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        pairs = _parse_multipart(content_type, body)
        # 3.6.5 refuses a multipart body without parts, with no text (python-libmaas sends just that for an
        # operation without arguments); a 400 with an empty body is what its users report.
        if not pairs and release >= (3, 6):
            raise RefusedError(Answer(400, "", TEXT))
        return Fields(pairs)
    if not body:
        return Fields()
    if kind == "application/json":
        return Fields(_parse_json(body))
    if kind in ("application/x-www-form-urlencoded", ""):
        return Fields(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    raise RefusedError(Answer(400, "", TEXT))


def _parse_json(body: bytes) -> list[tuple[str, str]]:
    try:
        document = json.loads(body)
    except ValueError:
        raise RefusedError(Answer(400, "", TEXT)) from None
    if not isinstance(document, dict):
        raise RefusedError(Answer(400, "", TEXT))
    pairs: list[tuple[str, str]] = []
    for name, value in document.items():
        for item in value if isinstance(value, list) else [value]:
            pairs.append((name, item if isinstance(item, str) else json.dumps(item)))
    return pairs


def _parse_multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    match = re.search(r'boundary="?([^";]+)"?', content_type)
    if match is None:
        raise RefusedError(Answer(400, "", TEXT))
    pairs = []
    for part in (b"\r\n" + body).split(b"\r\n--" + match[1].encode())[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'(?<!file)name="?([^";\r\n]+)"?', head)
        if part.startswith(b"--") or name is None:
            continue
        if re.search(rb"content-transfer-encoding:\s*base64", head, re.IGNORECASE):
            content = base64.b64decode(content)
        pairs.append((name[1].decode(), content.decode("utf-8", "replace")))
    return pairs
