# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run as Ansible runs them, in the test's own process; what ships to ansible-test has a way of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

RunModule = Callable[..., dict[str, Any]]


def runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unset: Iterable[str] = (), **always: Any
) -> RunModule:
    """Run a module's main() with `always` among its options; the result is what it prints, secrets blanked.

    The environment variables `unset`, by which options are given too, are not there.
    """
    from ansible.module_utils import _internal, basic
    from ansible.module_utils.common import warnings

    # Where another test has loaded the controller's side of Ansible, warnings would go to its display.
    monkeypatch.setattr(_internal, "is_controller", False)
    for name in unset:
        monkeypatch.delenv(name, raising=False)

    def run(module: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        options = {
            **always,
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
