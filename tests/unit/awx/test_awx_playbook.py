# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""edge.rack.awx against a simulated AWX: what it makes, that it is made once, and what it says where it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import STDOUT, CompletedProcess
from typing import Any

import pytest

from tests import registries
from tests.unit.awx.awx_server import HIDDEN, Awx, serving
from tests.unit.playbook_runs import ansible_playbook

# The templates themselves are compared with the playbooks in test_awx_templates.py.
pytestmark = pytest.mark.long

CHECKOUT = Path(__file__).resolve().parents[3]
TOKEN = "the-token-of-an-administrator"
MAAS_KEY = "consumer:key:the-secret-of-maas"
SECRETS = [MAAS_KEY, "the-password-of-esxi", "the-key-of-the-site", "the-token-of-slack"]
SITE = {
    "awx_execution_environment_image": "registry.example.com:5000/edge/execution-environment:0.1.0",
    "awx_project_url": "edge-git@control.example.com:/srv/edge/site.git",
    "awx_project_credential": "Site",
    "awx_instance_groups": ["default"],
    "awx_credentials": [
        {"name": "MAAS", "type": "edge.rack MAAS", "inputs": {"url": "https://maas.example.com", "api_key": MAAS_KEY}},
        {"name": "ESXi", "type": "edge.rack ESXi", "inputs": {"username": "root", "password": SECRETS[1]}},
        {"name": "Site", "type": "Source Control", "inputs": {"username": "edge-git", "ssh_key_data": SECRETS[2]}},
    ],
    "awx_notifications": [
        {
            "name": "On call",
            "type": "slack",
            "configuration": {"token": SECRETS[3], "channels": ["#rack"], "hex_color": ""},
            "events": ["error", "approvals"],
        }
    ],
}
Run = CompletedProcess[str]


def asked(folder: Path, awx: Awx, *argv: str, certificates: Path | None = None, **more: Any) -> Run:
    """What became of edge.rack.awx, with its secrets in a file of variables; over TLS with certificates of a folder."""
    with serving(awx, certificates) as url:
        variables = folder / "awx.json"
        variables.write_text(json.dumps({"awx_url": url, "awx_token": TOKEN, **SITE, **more}))
        variables.chmod(0o600)
        return ansible_playbook("-i", "localhost,", "playbooks/awx.yml", "-e", f"@{variables}", *argv, stderr=STDOUT)


def new_awx() -> Awx:
    return Awx(TOKEN, [f"playbooks/{playbook.name}" for playbook in (CHECKOUT / "playbooks").glob("*.yml")])


def ended(run: Run) -> dict[str, int]:
    """The counts of the host, which is one."""
    (recap,) = re.findall(r"^localhost +: (.*)$", run.stdout, re.MULTILINE)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("awx")


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Path:
    registries.authority(folder / "certificates", "127.0.0.1")
    return folder / "certificates"


@pytest.fixture(scope="module")
def made(folder: Path) -> Iterator[tuple[Awx, Run]]:
    """An AWX after the first run, with all that the run said."""
    awx = new_awx()
    run = asked(folder, awx, "-vvv")
    assert run.returncode == 0, run.stdout
    yield awx, run


def test_it_makes_the_project_and_the_inventory_that_maas_fills(made: tuple[Awx, Run]) -> None:
    awx, _run = made
    organisation = awx.named("organizations")["Rack"]
    environment = awx.named("execution_environments")["Rack"]
    project, inventory = awx.named("projects")["Rack"], awx.named("inventories")["Rack"]
    source = awx.named("inventory_sources")["Rack"]
    assert awx.linked("organizations", organisation["id"], "instance_groups") == ["default"]
    assert environment["image"] == SITE["awx_execution_environment_image"]
    assert (project["scm_url"], project["scm_branch"]) == (SITE["awx_project_url"], "main")
    assert project["credential"] == awx.named("credentials")["Site"]["id"]
    assert project["default_environment"] == environment["id"]
    assert (source["inventory"], source["source_project"]) == (inventory["id"], project["id"])
    assert (source["source"], source["source_path"]) == ("scm", "inventory/rack")
    assert source["credential"] == awx.named("credentials")["MAAS"]["id"]
    assert source["update_on_launch"] and source["overwrite"] and source["overwrite_vars"]
    assert {item["organization"] for item in (project, inventory, environment)} == {organisation["id"]}


def test_secrets_reach_awx_and_nothing_that_the_run_says(made: tuple[Awx, Run]) -> None:
    awx, run = made
    credentials = awx.named("credentials")
    assert credentials["MAAS"]["inputs"] == {"url": "https://maas.example.com", "api_key": MAAS_KEY}
    assert credentials["ESXi"]["inputs"]["password"] == SECRETS[1]
    assert credentials["Site"]["inputs"]["ssh_key_data"] == SECRETS[2]
    assert awx.shown(credentials["MAAS"])["inputs"]["api_key"] == HIDDEN
    assert [secret for secret in [TOKEN, *SECRETS] if secret in run.stdout] == []
    assert "Every playbook has its template" in run.stdout


def test_each_playbook_has_its_template(made: tuple[Awx, Run]) -> None:
    awx, _run = made
    templates = awx.named("job_templates")
    project, inventory = awx.named("projects")["Rack"]["id"], awx.named("inventories")["Rack"]["id"]
    environment = awx.named("execution_environments")["Rack"]["id"]
    assert len(templates) == 24
    for name, template in templates.items():
        assert template["playbook"] == f"playbooks/{name.removeprefix('Rack ')}.yml"
        assert (template["project"], template["inventory"]) == (project, inventory)
        assert template["execution_environment"] == environment
        assert awx.linked("job_templates", template["id"], "credentials") == ["ESXi", "MAAS"]
        assert template["survey_enabled"] == (("job_templates", template["id"]) in awx.surveys)
    survey = awx.surveys["job_templates", templates["Rack train"]["id"]]["spec"]
    assert [one["variable"] for one in survey][:2] == ["task", "train_epochs"]
    released = json.loads(templates["Rack release"]["extra_vars"])
    site = "/var/lib/edge-controller/site"
    assert released == {"rollout_release_file": f"{site}/inventory/rack/group_vars/all/release.yml"}


def test_a_release_waits_for_approval_before_it_is_trained_and_served(made: tuple[Awx, Run]) -> None:
    awx, _run = made
    collection = "workflow_job_template_nodes"
    nodes = awx.named(collection)
    then = {name: awx.linked(collection, node["id"], "success_nodes") for name, node in nodes.items()}
    assert then == {"release": ["approval"], "approval": ["train"], "train": ["serve"], "serve": []}
    jobs = awx.table("unified_job_templates")
    runs = {name: jobs[node["unified_job_template"]]["name"] for name, node in nodes.items()}
    assert runs.pop("approval") == "Rack training"
    assert runs == {step: f"Rack {step}" for step in ("release", "train", "serve")}
    assert awx.named("workflow_approval_templates")["Rack training"]["timeout"] == 86400
    workflow = awx.named("workflow_job_templates")["Rack release, train, serve"]
    asks = {one["variable"] for one in awx.surveys["workflow_job_templates", workflow["id"]]["spec"]}
    assert {"edge_release_name", "task"} <= asks


def test_teams_may_press_what_is_theirs(made: tuple[Awx, Run]) -> None:
    awx, _run = made
    teams = {team["id"]: name for name, team in awx.named("teams").items()}
    templates = awx.named("job_templates")

    def may(item: dict[str, Any], role: str) -> list[str]:
        return [teams[team] for team in awx.roles[item["roles"][f"{role}_role"]]]

    assert all(may(template, "read") == ["Rack viewers"] for template in templates.values())
    kept = {name for name, template in templates.items() if may(template, "execute") == []}
    assert kept == {
        f"Rack {verb}"
        for verb in ("hypervisor", "services", "restore", "maas_restore", "registry_restore", "retire", "revoke")
    }
    assert may(templates["Rack release"], "execute") == ["Rack operators"]
    workflow = awx.named("workflow_job_templates")["Rack release, train, serve"]
    assert may(workflow, "approval") == ["Rack approvers"]
    assert may(workflow, "execute") == ["Rack operators"]


def test_what_runs_by_itself_and_who_is_told(made: tuple[Awx, Run]) -> None:
    awx, _run = made
    jobs = awx.table("unified_job_templates")
    schedules = {name: jobs[item["unified_job_template"]]["name"] for name, item in awx.named("schedules").items()}
    verbs = ("status", "doctor", "converge_now", "backup", "prune_registry")
    assert schedules == {f"Rack {verb}": f"Rack {verb}" for verb in verbs}
    organisation = awx.named("organizations")["Rack"]["id"]
    told = {
        event: awx.linked("organizations", organisation, f"notification_templates_{event}")
        for event in ("started", "success", "error", "approvals")
    }
    assert told == {"started": [], "success": [], "error": ["On call"], "approvals": ["On call"]}


def test_a_second_run_changes_nothing(folder: Path, made: tuple[Awx, Run]) -> None:
    awx, first = made
    assert ended(first)["changed"] > 0
    before = len(awx.writes)
    run = asked(folder, awx)
    assert run.returncode == 0, run.stdout
    assert ended(run)["changed"] == 0, run.stdout
    assert awx.writes[before:] == []


def test_check_mode_on_an_empty_awx_names_what_would_be_made(folder: Path, certificates: Path) -> None:
    awx = new_awx()
    run = asked(folder, awx, "--check", certificates=certificates, awx_ca_path=str(certificates / "ca.crt"))
    assert run.returncode == 0, run.stdout
    assert awx.writes == []
    assert ended(run)["changed"] > 0
    assert "has no organisation Rack: it would be made, with backup, configure" in " ".join(run.stdout.split())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"awx_token": "another-token"}, r"awx_token: http://127\.0\.0\.1:\d+ refuses it"),
        ({"awx_url": "http://awx.example.com"}, r"awx_url: http://awx\.example\.com would get the token in plain text"),
    ],
)
def test_what_is_wrong_is_named_and_the_token_is_not(folder: Path, told: dict[str, str], message: str) -> None:
    run = asked(folder, new_awx(), "-vvv", **told)
    assert run.returncode != 0
    assert re.search(message, " ".join(run.stdout.split()))
    assert [token for token in (TOKEN, "another-token") if token in run.stdout] == []


def test_a_server_of_another_authority_gets_no_token(folder: Path, certificates: Path) -> None:
    awx = new_awx()
    run = asked(folder, awx, certificates=certificates)
    assert run.returncode != 0
    assert "awx_ca_path: the certificate of https://127.0.0.1" in " ".join(run.stdout.split())
    assert awx.asked == 0
