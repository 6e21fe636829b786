# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ARA's own settings, and the rack's rights (DJANGO_SETTINGS_MODULE=edge_ara.settings)."""

import importlib
import os
from pathlib import Path

# dynaconf goes on with defaults where it cannot read this.
Path(os.environ["ARA_SETTINGS"]).read_bytes()

# Django's settings are what a module has in capitals.
_ARA = importlib.import_module("ara.server.settings")
globals().update({name: value for name, value in vars(_ARA).items() if name.isupper()})

MIDDLEWARE = [*_ARA.MIDDLEWARE, "edge_ara.access.Access"]
