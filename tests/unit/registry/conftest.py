# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's client, modules and clean-up against Debian's docker-registry."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.unit.registry.distribution import CHECKOUT, Rack, running

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rack]:
    with running(tmp_path) as rack:
        monkeypatch.setenv("PATH", f"{rack.folder / 'bin'}:{os.environ['PATH']}")
        yield rack


@pytest.fixture
def render() -> Callable[..., str]:
    """Render a template of the role as Ansible does."""
    loader = jinja2.FileSystemLoader(CHECKOUT / "roles" / "registry" / "templates")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["quote"] = shlex.quote
    return lambda name, **variables: environment.get_template(name).render(ansible_managed="Ansible", **variables)


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module's main() as Ansible does; the result is what it prints, secrets blanked."""
    from ansible.module_utils import _internal, basic
    from ansible.module_utils.common import warnings

    # Where another test has loaded the controller's side of Ansible, warnings would go to its display.
    monkeypatch.setattr(_internal, "is_controller", False)
    for name in ("REGISTRY_URL", "REGISTRY_USERNAME", "REGISTRY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def run(module: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        options = {
            **options,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            "_ansible_remote_tmp": "/tmp",
        }
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(sys, "argv", [module.__name__])
        monkeypatch.setattr(warnings, "_global_warnings", {})
        with pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run
