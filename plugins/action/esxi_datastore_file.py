# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows how far an upload is while the module runs."""

from __future__ import annotations

from ansible_collections.edge.rack.plugins.plugin_utils.live_progress import LiveBytes


class ActionModule(LiveBytes):
    DEFAULT_TIMEOUT_SECONDS = 7200
