# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX asks and hands on is what playbooks take: no template without a playbook, no variable that nobody reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes

CHECKOUT = Path(__file__).resolve().parents[3]
PLAYBOOKS = CHECKOUT / "playbooks"
ROLES = CHECKOUT / "roles"
# Playbooks that nobody starts in AWX, and why.
PARTS = {
    "awx": "makes the templates, so it is started from outside",
    "converge": "is what a device applies to itself",
    "record_release": "is part of images, serve, release and pin_release",
    "release_waves": "is part of release and rollback",
    "train_attempt": "is part of train",
}
# These hold an expression without braces.
EXPRESSIONS = ("when", "that", "failed_when", "changed_when", "until")


TEMPLATE = jinja2.Environment(autoescape=True)


class Loader(yaml.CSafeLoader):
    """Ansible's own tags are of no interest."""


# Ansible makes no template of it.
Loader.add_constructor("!unsafe", lambda loader, node: "")
Loader.add_constructor("!vault", lambda loader, node: loader.construct_scalar(node))


def loaded(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader)


def values(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Each scalar of a YAML document, with the name that it stands under."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from values(value, str(name))
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, key)
    else:
        yield key, tree


def named(template: str) -> set[str]:
    return {name.name for name in TEMPLATE.parse(template).find_all(nodes.Name) if name.ctx == "load"}


def mentioned(tree: Any) -> set[str]:
    """Variables that a document's templates and conditions read."""
    found: set[str] = set()
    for key, value in values(tree):
        if isinstance(value, str) and "{{" in value:
            found |= named(value)
        elif isinstance(value, str) and key in EXPRESSIONS:
            found |= named("{{ (" + value + ") }}")
    return found


def roles_of(tree: Any) -> set[str]:
    """Roles that a document names, as roles or in tasks."""
    names = [value for key, value in values(tree) if key in ("role", "name", "roles") and isinstance(value, str)]
    return {name.removeprefix("edge.rack.") for name in names if name.startswith("edge.rack.")}


@functools.cache
def read_by_role(role: str) -> set[str]:
    """Variables that a role takes: its arguments, and what its files read."""
    specs = loaded(ROLES / role / "meta/argument_specs.yml")["argument_specs"]
    found = {option for entry in specs.values() for option in entry.get("options", {})}
    for part in ("defaults", "vars", "tasks"):
        for path in (ROLES / role / part).glob("*.yml"):
            found |= mentioned(loaded(path))
    return found


@functools.cache
def read_by(playbook: Path) -> set[str]:
    """Variables that a playbook takes: those that it reads, also by what it imports and by its roles."""
    tree = loaded(playbook)
    found = mentioned(tree)
    for play in tree:
        imported = play.get("ansible.builtin.import_playbook")
        # A playbook may set itself what another one asks for.
        set_here = set(play.get("vars", {}))
        if imported:
            found |= read_by(PLAYBOOKS / imported) - set_here
        else:
            found |= set_here
    return found.union(*map(read_by_role, roles_of(tree)))


TEMPLATES = {template["name"]: template for template in loaded(ROLES / "awx/vars/templates.yml")["awx_templates"]}
TYPES = {one["name"]: one for one in loaded(ROLES / "awx/vars/credential_types.yml")["awx_credential_types"]}


def test_each_template_is_a_playbook_and_each_playbook_that_a_person_starts_has_one() -> None:
    assert {path.stem for path in PLAYBOOKS.glob("*.yml")} == TEMPLATES.keys() | PARTS.keys()
    assert not TEMPLATES.keys() & PARTS.keys()


@pytest.mark.parametrize("name", [name for name, template in TEMPLATES.items() if "survey" in template])
def test_a_survey_asks_for_what_its_playbook_reads(name: str) -> None:
    asked = {question["variable"] for question in TEMPLATES[name]["survey"]}
    assert asked - read_by(PLAYBOOKS / f"{name}.yml") == set()


# What AWX calls a type -> what an argument spec does. Whether a text is a number or a share, the role says.
TYPES_THAT_FIT = {"text": ("str", "raw"), "integer": ("int",), "float": ("float",), "multiplechoice": ("str", "bool")}


def specified(playbook: Path) -> dict[str, Any]:
    """The arguments of the playbook's roles, and its own variables with plain values; also of what it imports."""
    tree = loaded(playbook)
    found: dict[str, Any] = {}
    for play in tree:
        if imported := play.get("ansible.builtin.import_playbook"):
            found |= specified(PLAYBOOKS / imported)
        for variable, value in play.get("vars", {}).items():
            if isinstance(value, bool | int | float):
                found[variable] = {"type": type(value).__name__, "default": value}
    for role in roles_of(tree):
        for entry in loaded(ROLES / role / "meta/argument_specs.yml")["argument_specs"].values():
            found |= entry.get("options", {})
    return found


def test_a_survey_asks_as_the_argument_specs_say() -> None:
    compared = set()
    for name, template in TEMPLATES.items():
        specs = specified(PLAYBOOKS / f"{name}.yml")
        for question in template.get("survey", []):
            if (variable := question["variable"]) not in specs:
                continue  # nowhere more than its name, which the playbook reads
            spec, where = specs[variable], f"{name}: {variable}"
            compared.add(variable)
            assert spec.get("type", "str") in TYPES_THAT_FIT[question["type"]], where
            choices = ["true", "false"] if spec.get("type") == "bool" else spec.get("choices")
            assert sorted(question.get("choices", [])) == sorted(choices or []), where
            if "default" in spec:
                asked, default = str(question["default"]), str(spec["default"])
                assert asked == (default.lower() if spec.get("type") == "bool" else default), where
    assert {"rollout_canaries", "train_epochs"} <= compared


def test_what_a_template_sets_is_read_by_its_playbook() -> None:
    unread = {
        name: set(template.get("extra_vars", {})) - read_by(PLAYBOOKS / f"{name}.yml")
        for name, template in TEMPLATES.items()
    }
    assert {name: names for name, names in unread.items() if names} == {}


def test_a_variable_that_nobody_reads_would_be_found() -> None:
    assert "train_epoch" not in read_by(PLAYBOOKS / "train.yml")
    assert "train_epochs" in read_by(PLAYBOOKS / "train.yml")
    # Of the role, not the playbook; and of one that is imported.
    assert "rollout_canaries" in read_by(PLAYBOOKS / "release.yml")
    assert "rollout_unattended_enabled" in read_by(PLAYBOOKS / "rollback.yml")


def test_each_question_has_an_answer() -> None:
    """An optional one comes as an empty text, which a playbook takes for a name."""
    questions = [question for template in TEMPLATES.values() for question in template.get("survey", [])]
    assert [question["variable"] for question in questions if not question["required"]] == []


def test_playbooks_read_the_variables_of_credentials() -> None:
    read = set[str]()
    for path in (CHECKOUT / "inventory/example").rglob("*.yml"):
        read |= mentioned(loaded(path))
    for path in PLAYBOOKS.glob("*.yml"):
        read |= read_by(path)
    for path in ROLES.iterdir():
        read |= read_by_role(path.name)
    # In comments, for a site that has a control node.
    commented = (CHECKOUT / "inventory/example/group_vars/all/rack.yml").read_text()
    unread = {
        f"{name}: {variable}"
        for name, one in TYPES.items()
        for variable in one["injectors"].get("extra_vars", {})
        if variable not in read and f'"{{{{ {variable} }}}}"' not in commented
    }
    assert unread == set()


def test_the_inventory_reads_the_environment_of_the_credential_for_maas() -> None:
    from tests.unit import collection

    collection.find()
    from ansible_collections.edge.rack.plugins.doc_fragments.maas import ModuleDocFragment

    options = yaml.safe_load(ModuleDocFragment.PLUGIN)["options"]
    read = {one["name"] for option in options.values() for one in option.get("env", [])}
    assert TYPES["edge.rack MAAS"]["injectors"]["env"].keys() <= read
    # A setting of the source would win over the environment; so docs/awx.md leaves these out of it.
    assert {"maas_url", "maas_api_key"} <= {name for name, option in options.items() if "env" in option}
