"""The checkout as the collection, for a plain pytest; what ships to ansible-test has a way of its own."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


def find() -> None:
    """Make ansible_collections.edge.rack importable."""
    with contextlib.suppress(ImportError):
        import ansible_collections.edge.rack  # noqa: F401

        return
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    sys.modules.pop("ansible_collections", None)
    checkout = Path(__file__).resolve().parents[2]
    _AnsibleCollectionFinder(paths=[str(checkout / ".collections")])._install()
