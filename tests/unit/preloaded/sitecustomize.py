# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module of Ansible would read from a zip, and so compile anew, it finds here: loaded with its bytecode.

That is half of what a module costs. Python imports this by its name where PYTHONPATH names its folder.
"""

import contextlib
import importlib
import os
import sys

place = os.environ.get("EDGE_ANSIBLE_PACKAGES", "")
if place and any("AnsiballZ_" in argument for argument in sys.orig_argv):
    sys.path.append(place)
    with contextlib.suppress(ImportError):
        importlib.import_module("ansible.module_utils.basic")
    # A module's other needs are the system's, as ever; what was there before stays, be it the same folder.
    sys.path.pop()
