# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`-e NAME=true` gives a string: ansible-core 2.19 refuses one as a condition, and to Jinja "false" is true."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[3]


def booleans() -> set[str]:
    specs = [yaml.safe_load(path.read_text()) for path in CHECKOUT.glob("roles/*/meta/argument_specs.yml")]
    points = [point for spec in specs for point in spec["argument_specs"].values()]
    return {name for point in points for name, option in point.get("options", {}).items() if option["type"] == "bool"}


def decisions(text: str, names: set[str]) -> list[str]:
    """Where a boolean decides; not where it is passed on whole, set, or named in a sentence."""
    word = rf"(?:{'|'.join(sorted(names))})\b"
    found = re.findall(rf"\b(?:if|or|and|not|when:|that:) ({word}(?! \| (?:default\([^|]*\) \| )?bool\b))", text)
    return found + re.findall(rf"{{{{ ({word}) (?:or|and|if)", text)


def test_a_boolean_of_a_role_may_be_given_as_a_string() -> None:
    names = booleans()
    assert {"control_node_renew_enabled", "registry_clean_enabled"} < names
    folders = ("tasks", "handlers", "templates", "vars", "defaults")
    files = [path for folder in folders for path in CHECKOUT.glob(f"roles/*/{folder}/*") if path.is_file()]
    files += CHECKOUT.glob("playbooks/**/*.yml")
    wrong = {str(path.relative_to(CHECKOUT)): found for path in files if (found := decisions(path.read_text(), names))}
    assert wrong == {}, "write NAME | bool"
