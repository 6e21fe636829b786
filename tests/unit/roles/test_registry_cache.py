# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shelf's cache as the role `registry` configures it, before a registry: Debian's docker-registry and nginx."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import registries

SIZES = (400_000, 300_000)


@dataclass
class Shelf:
    """A registry, its cache, and an image that the registry holds."""

    certificates: Path
    origin: registries.Server
    cache: registries.Server
    digest: str

    def pull(self, _: object = None, registry: registries.Server | None = None) -> int:
        client = registries.Client((registry or self.cache).host, self.certificates / "ca.crt")
        return client.pull("edge/worker", self.digest)


def _server(folder: Path, certificates: Path, cache_of: str = "") -> registries.Server:
    server = registries.Server(folder, "localhost", "localhost", registries.free_ports(4), cache_of)
    server.configure(certificates)
    server.start()
    return server


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("shelf")
    registries.authority(folder / "certificates", "localhost")
    origin = _server(folder / "origin", folder / "certificates")
    cache = None
    try:
        client = registries.Client(origin.host, folder / "certificates/ca.crt", "push")
        digest = client.push("edge/worker", [os.urandom(size) for size in SIZES])
        cache = _server(folder / "cache", folder / "certificates", origin.host)
        yield Shelf(folder / "certificates", origin, cache, digest)
    finally:
        for server in (origin, cache):
            if server:
                server.stop()


def test_devices_that_pull_at_one_moment_cost_the_registry_one_image_and_later_ones_nothing(shelf: Shelf) -> None:
    before = shelf.origin.bytes_sent()
    with ThreadPoolExecutor(8) as devices:
        sizes = list(devices.map(shelf.pull, range(8)))
    cost = shelf.origin.bytes_sent() - before
    # Besides, distribution asks /v2/ (2 bytes) before each of its requests.
    assert sizes[0] <= cost <= sizes[0] + 1000
    assert sizes == [sizes[0]] * 8
    assert sum(SIZES) < sizes[0]
    before = shelf.origin.bytes_sent()
    assert shelf.pull() == sizes[0]
    assert shelf.origin.bytes_sent() - before <= 100


@pytest.mark.parametrize(
    ("account", "method", "message"),
    [
        (
            "pull",
            "PUT",
            "the account pull may only pull; push with an account of registry_accounts that has rights: push",
        ),
        ("metrics", "GET", "the account metrics may only read metrics; pull with an account"),
        ("push", "OPTIONS", "the account push may only pull and push"),
    ],
)
def test_a_refusal_says_what_the_account_may_do(shelf: Shelf, account: str, method: str, message: str) -> None:
    client = registries.Client(shelf.origin.host, shelf.certificates / "ca.crt", account)
    status, answer = client.ask(f"edge/worker/manifests/{shelf.digest}", method)
    (error,) = json.loads(answer)["errors"]
    assert (status, error["code"]) == (403, "DENIED")
    assert error["message"].startswith(message)


def test_what_a_cache_has_it_hands_out_while_the_registry_is_away(shelf: Shelf) -> None:
    size = shelf.pull()
    shelf.origin.stop()
    try:
        assert shelf.pull() == size
    finally:
        shelf.origin.start()


def test_a_cache_takes_no_push_and_nobody_without_an_account(shelf: Shelf) -> None:
    certificate = shelf.certificates / "ca.crt"
    status, answer = registries.Client(shelf.cache.host, certificate, "push").ask(
        "edge/worker/blobs/uploads/", "POST", b""
    )
    assert (status, json.loads(answer)["errors"][0]["code"]) == (405, "UNSUPPORTED")
    status, _ = registries.Client(shelf.cache.host, certificate, "nobody").ask(f"edge/worker/manifests/{shelf.digest}")
    assert status == 401


def test_an_image_that_the_registry_has_not_is_an_error_of_the_cache_that_says_so(shelf: Shelf) -> None:
    missing = f"edge/worker/manifests/sha256:{'0' * 64}"
    status, answer = registries.Client(shelf.cache.host, shelf.certificates / "ca.crt").ask(missing)
    assert status == 500, "distribution 2.8 makes this of the registry's 404"
    assert b"MANIFEST_UNKNOWN" in answer


def test_a_registry_with_a_certificate_of_another_authority_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    registries.authority(tmp_path / "certificates", "localhost")
    # What it shows devices is of their authority, what it trusts is not.
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "certificates" / name).write_bytes((shelf.certificates / name).read_bytes())
    cache = _server(tmp_path / "cache", tmp_path / "certificates", shelf.origin.host)
    before = shelf.origin.bytes_sent()
    try:
        path = f"edge/worker/manifests/{shelf.digest}"
        status, answer = registries.Client(cache.host, shelf.certificates / "ca.crt").ask(path)
    finally:
        cache.stop()
    assert status == 500, answer
    assert "upstream SSL certificate verify error" in cache.log()
    assert shelf.origin.bytes_sent() == before
