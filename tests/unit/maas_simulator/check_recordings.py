"""Check the expectations against the recordings they were derived from.

    python tests/unit/maas_simulator/check_recordings.py FOLDER

FOLDER holds maas-3.4.10.jsonl and maas-3.6.5.jsonl, one JSON object per call.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from maas_contract import VERSIONS, answer_problems, expectations, filled, saved, unmet


def problems_of(folder: Path, version: str) -> list[str]:
    """Every expectation that a recording does not bear out."""
    rows = [json.loads(line) for line in (folder / f"maas-{version}.jsonl").read_text().splitlines()]
    names: dict[str, str] = {}
    problems = []
    unused = iter(rows)
    for call in expectations(version):
        row = next(row for row in unused if row["note"] == call["note"])
        found = _row_problems(call, row, names)
        problems += [f"{version}, {call['note']}: {problem}" for problem in found]
    return problems


def _row_problems(call: dict[str, Any], row: dict[str, Any], names: dict[str, str]) -> list[str]:
    if "sequence" in call:
        return unmet(call["sequence"], row["sequence"], "sequence")
    if "keys" in call:
        names["nic1"] = str(row["machine"]["interface_set"][0]["id"])
        return unmet(call["keys"], sorted(row["machine"]), "keys")
    request, response = row["request"], row["response"]
    # What a path calls nic2 has no row of its own.
    second = re.search(r"interfaces/(\d+)/", request["path"])
    if second:
        names["nic2"] = second[1]
    names |= saved(call, response["body"])
    method, path = filled(call["call"], names).split(" ", 1)
    problems = unmet([method, path], [request["method"], request["path"]], "request")
    problems += unmet(call.get("raw_bytes"), request.get("raw_bytes"), "raw_bytes")
    problems += unmet(call.get("auth"), request.get("auth"), "auth")
    params = filled(call.get("params"), names)
    if "{" not in json.dumps(params).replace("{", "", 1) or isinstance(params, list):
        problems += unmet(params, _as_text(request["params"]) or None, "params")
    return problems + answer_problems(call, response["status"], response["content_type"], response["body"])


def _as_text(params: Any) -> Any:
    """Numbers as they went over the wire."""
    if isinstance(params, dict):
        return {name: str(value) if isinstance(value, int) else value for name, value in params.items()}
    return params


def main() -> int:
    """Exit status 1 if any expectation is not borne out."""
    problems = [text for version in VERSIONS for text in problems_of(Path(sys.argv[1]), version)]
    for text in problems:
        print(text)
    count = sum(1 for version in VERSIONS for _ in expectations(version))
    print(f"{count} expectations, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
