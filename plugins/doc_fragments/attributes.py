# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What a module which changes something promises.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and predict the changed status without modifying anything.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row, with the same arguments, the second run changes nothing.
    support: full
"""

    # The same for a module which only reads.
    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and predict the changed status without modifying anything.
    support: full
    details: This module never changes anything.
  diff_mode:
    description: Returns details on what has changed (or would change in C(check_mode)), when in diff mode.
    support: N/A
    details: This module never changes anything.
  idempotent:
    description: When run twice in a row, with the same arguments, the second run changes nothing.
    support: full
"""

    # Membership in the action group of the MAAS modules.
    ACTIONGROUP_MAAS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/edge.rack.maas) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - edge.rack.maas
"""

    # Membership in the action group of the ESXi modules.
    ACTIONGROUP_ESXI = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/edge.rack.esxi) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - edge.rack.esxi
"""

    # Membership in the action group of the registry's modules.
    ACTIONGROUP_REGISTRY = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/edge.rack.registry) in C(module_defaults) to set the connection options once.
    support: full
    membership:
      - edge.rack.registry
"""
