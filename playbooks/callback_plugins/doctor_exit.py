# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_exit
type: notification
short_description: Lets ansible-playbook end with 1 where doctor.yml found warnings alone
version_added: 0.1.0
description:
  - A playbook itself can end with 0, or with 2 where a task failed. 1 takes somebody who speaks when all is done.
  - Ansible loads this by itself, for it lies beside the playbook. It acts on the statistic C(doctor_exit_code) alone.
author:
  - The edge.rack engineers (@edge-rack)
"""

import sys
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "doctor_exit"

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        if stats.custom.get("_run", {}).get("doctor_exit_code") == 1:
            # Callbacks that come later in Ansible's order must hear of the end, too: what Ansible ends with is changed,
            # not when. It does so by this function, when all of them are done.
            ends = sys.exit
            setattr(sys, "exit", lambda code=0: ends(code or 1))  # noqa: B010 - a function, which none may assign to
