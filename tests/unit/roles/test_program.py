# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role program on this machine, in folders of the test's own: what it unpacks, and when."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.playbook_runs import ansible_playbook


def install(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the role for the package edge_hello, which lies in the folder files."""
    task = {"ansible.builtin.include_role": {"name": "edge.rack.program"}}
    play = folder / "play.json"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    variables = {
        "ansible_python_interpreter": sys.executable,
        "edge_controller_dir": str(folder / "controller"),
        "program_package": "edge_hello",
        "program_path": str(folder / "edge-hello"),
        "program_library_dir": str(folder / "lib"),
        "program_source_dir": str(folder / "files"),
    }
    done = ansible_playbook("-i", "localhost,", "-c", "local", "-e", json.dumps(variables), play)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_run_that_was_cut_before_it_unpacked_the_program_is_repeated(tmp_path: Path) -> None:
    package = tmp_path / "files" / "edge_hello"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("def main():\n    print('the new program')\n")
    install(tmp_path)
    # As the cut run leaves it: the archive is the new one, its parts are those of before.
    part, stamp = tmp_path / "lib" / "edge_hello" / "cli.py", tmp_path / "lib" / "unpacked"
    part.write_text("raise SystemExit('the earlier program')\n")
    stamp.write_text(f"{'0' * 64}  edge-hello.tar\n")

    install(tmp_path)

    said = subprocess.run([tmp_path / "edge-hello"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said == "the new program\n"
    assert " changed=0 " in install(tmp_path).stdout
