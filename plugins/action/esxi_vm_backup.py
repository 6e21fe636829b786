# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows how far a backup is while the module runs."""

from __future__ import annotations

from ansible_collections.edge.rack.plugins.plugin_utils.live_progress import LiveBytes


class ActionModule(LiveBytes):
    # The option is the time for one step: at most 15 disks, to make and remove snapshots, to clean up.
    MOST_STEPS = 20
    DEFAULT_TIMEOUT_SECONDS = 14400

    def timeout_seconds(self):
        return self.MOST_STEPS * super().timeout_seconds()
