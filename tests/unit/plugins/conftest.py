# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("maas.client.bones", reason="python-libmaas is not installed")


def _find_the_collection() -> None:
    """Make ansible_collections.edge.rack importable for a plain pytest; ansible-test has done so already."""
    with suppress(ImportError):
        import ansible_collections.edge.rack  # noqa: F401

        return
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    sys.modules.pop("ansible_collections", None)
    checkout = Path(__file__).resolve().parents[3]
    _AnsibleCollectionFinder(paths=[str(checkout / ".collections")])._install()


_find_the_collection()

from ansible_collections.edge.rack.plugins.module_utils import maas  # noqa: E402
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import API_KEY, FakeRegion  # noqa: E402


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegion]:
    for name in ("MAAS_URL", "MAAS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(maas, "CONFLICT_PAUSES", (0.001,) * 3)
    monkeypatch.setattr(maas, "LOST_CALL_PAUSES", (0.001,) * 2)
    with FakeRegion() as region:
        yield region


@pytest.fixture
def client(region: FakeRegion) -> Iterator[maas.MaasClient]:
    with maas.MaasClient(maas.MaasConnection(region.url, API_KEY)) as client:
        yield client


@pytest.fixture
def run_module(
    region: FakeRegion, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Run a module's main() as Ansible does; the result is what it prints, secrets blanked."""
    from ansible.module_utils import basic

    def run(module: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        options = {"maas_url": region.url, "maas_api_key": API_KEY, **options}
        options.update(_ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp="/tmp")
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(sys, "argv", [module.__name__])
        if hasattr(module, "Rounds"):
            monkeypatch.setattr(module, "Rounds", lambda seconds: maas.Rounds(seconds, first=0.001, longest=0.01))
        with pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run
