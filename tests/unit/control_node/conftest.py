# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator

import pytest
from ara_server import FILES, SETTINGS, Ara
from site_repository import SiteRepository


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> SiteRepository:
    return SiteRepository(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def ara(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ara]:
    folder = tmp_path_factory.mktemp("ara")
    (folder / "settings.yaml").write_text(SETTINGS.format(folder=folder))
    patch = pytest.MonkeyPatch()
    patch.setenv("ARA_BASE_DIR", str(folder))
    patch.setenv("ARA_SETTINGS", str(folder / "settings.yaml"))
    patch.setenv("DJANGO_SETTINGS_MODULE", "edge_ara.settings")
    patch.syspath_prepend(str(FILES))
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    yield Ara()
    patch.undo()
