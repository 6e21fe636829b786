# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ARA's retention: python -m edge_ara.prune --days 90

`ara playbook prune` removes at most what it lists, and leaves labels and files behind that no report has any more.
"""

from __future__ import annotations

import argparse
from datetime import timedelta

import django

django.setup()

from ara.api import models  # noqa: E402 - needs what setup() makes
from django.utils import timezone  # noqa: E402

# Devices report meanwhile: each step holds SQLite's one lock for as long as so many take.
STEP = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, required=True, help="keep what began within so many days")
    limit = timezone.now() - timedelta(days=parser.parse_args().days)
    removed = 0
    while step := list(models.Playbook.objects.filter(started__lt=limit).values_list("pk", flat=True)[:STEP]):
        models.Playbook.objects.filter(pk__in=step).delete()
        removed += len(step)
    models.Label.objects.filter(created__lt=limit, playbook=None).delete()
    models.FileContent.objects.filter(created__lt=limit, files=None).delete()
    print(
        f"edge-ara-prune: removed {removed} runs from before {limit:%Y-%m-%d}, kept {models.Playbook.objects.count()}"
    )


if __name__ == "__main__":
    main()
