# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that share a connection share a group of module_defaults, and their documentation says so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[3]
GROUPS = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["action_groups"]


def fragments(module: Path) -> list[str]:
    """What the module's documentation takes from elsewhere."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            found = yaml.safe_load(ast.literal_eval(node.value)).get("extends_documentation_fragment", [])
            return [found] if isinstance(found, str) else found
    raise AssertionError(f"{module.name} has no documentation")


MODULES = {f"edge.rack.{path.stem}": fragments(path) for path in (COLLECTION / "plugins/modules").glob("*.py")}


@pytest.mark.parametrize("group", ["esxi", "maas", "registry"])
def test_whoever_has_the_connections_options_is_in_its_group(group: str) -> None:
    connected = sorted(name for name, found in MODULES.items() if f"edge.rack.{group}" in found)
    said = sorted(name for name, found in MODULES.items() if f"edge.rack.attributes.actiongroup_{group}" in found)
    assert connected == said == GROUPS[group]


def test_there_are_no_other_groups() -> None:
    assert set(GROUPS) == {"esxi", "maas", "registry"}
