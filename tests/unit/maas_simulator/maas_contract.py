"""The expectations of the contract and how an answer is held to them.

`expectations.json` is derived from recordings of two real regions: per call the request, the status, the
content type and the parts of the body that matter. `shows` is the part of a machine that differs from
`machine_defaults`; `differs` is what the older region answers otherwise; `simulated: false` marks what the
simulator answers 501.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("expectations.json")
VERSIONS = ("3.4.10", "3.6.5")


def expectations(version: str) -> Iterator[dict[str, Any]]:
    """The calls in order, as this version answers them."""
    document = json.loads(FILE.read_text())
    defaults = document["machine_defaults"]
    for call in document["calls"]:
        call = _patched(call, call.pop("differs", {}).get(version, {}))
        absent = call.pop("keys_without", [])
        if "keys" in call:
            call["keys"] = [key for key in call["keys"] if key not in absent]
        if "shows" in call:
            call["body"] = defaults | call.pop("shows")
        if "shows_each" in call:
            call["body"] = [defaults | shown for shown in call.pop("shows_each")]
        yield call


def _patched(value: Any, patch: Any) -> Any:
    if not (isinstance(value, dict) and isinstance(patch, dict)):
        return patch
    gone = patch.get("-", [])
    merged = {key: _patched(old, patch[key]) if key in patch else old for key, old in value.items()}
    merged |= {key: new for key, new in patch.items() if key not in value and key != "-"}
    return {key: kept for key, kept in merged.items() if key not in gone}


def filled(value: Any, names: dict[str, str]) -> Any:
    """The same with `{name}` replaced by what earlier answers gave it."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda m: str(names.get(m[1], m[0])), value)
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    return value


def unmet(expected: Any, actual: Any, where: str = "body") -> list[str]:
    """What of the expectation the answer does not fulfil; dictionaries may hold more than expected."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        problems = [f"{where}.{key} is missing" for key in expected if key not in actual]
        for key in expected.keys() & actual.keys():
            problems += unmet(expected[key], actual[key], f"{where}.{key}")
        return problems
    if isinstance(expected, list) and isinstance(actual, list) and expected and isinstance(expected[0], dict):
        if len(actual) < len(expected):
            return [f"{where} has {len(actual)} items, not {len(expected)}"]
        pairs = enumerate(zip(expected, actual, strict=False))
        return [problem for n, (want, got) in pairs for problem in unmet(want, got, f"{where}[{n}]")]
    return [] if expected == actual else [f"{where} is {actual!r}, not {expected!r}"]


def answer_problems(call: dict[str, Any], status: int, content_type: str, body: Any) -> list[str]:
    """What is wrong with an answer."""
    problems = unmet(call["status"], status, "status") + unmet(call["type"], content_type, "content type")
    if "body" in call:
        problems += unmet(call["body"], body)
    if "contains" in call and call["contains"] not in json.dumps(body):
        problems.append(f"body does not contain {call['contains']!r}")
    return problems


def saved(call: dict[str, Any], body: Any) -> dict[str, str]:
    """The names a call gives to parts of its answer, for later calls."""
    return {name: _find(body, key) for name, key in call.get("save", {}).items()}


def _find(body: Any, key: str) -> str:
    if isinstance(body, dict):
        if key in body:
            return str(body[key]).removeprefix("/MAAS/api/2.0/")
        for item in body.values():
            found = _find(item, key)
            if found:
                return found
    return ""
