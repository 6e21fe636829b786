# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's client, modules and clean-up against Debian's docker-registry."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2
import pytest

from tests.unit.module_runs import RunModule, runner
from tests.unit.registry.distribution import CHECKOUT, Rack, running


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
    names = ("REGISTRY_URL", "REGISTRY_USERNAME", "REGISTRY_PASSWORD")
    return runner(monkeypatch, capsys, unset=names)
