# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client: signing in, pages, waiting, and what it does not believe."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import urllib.parse
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit import collection

collection.find()

from ansible_collections.edge.rack.plugins.module_utils.registry import errors  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.client import RegistryClient  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.connection import RegistryConnection  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.manifests import (  # noqa: E402
    IMAGE_TYPES,
    digest_of,
)

from tests.unit.registry.front import Answer, Request, serving  # noqa: E402

MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": IMAGE_TYPES[0], "layers": []}).encode()
FOUND: Answer = (200, {"Content-Type": IMAGE_TYPES[0]}, MANIFEST)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time, self.sleeps = 0.0, []  # type: float, list[float]

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds


def client(url: str, clock: Clock | None = None, **options: Any) -> RegistryClient:
    clock = clock or Clock()
    return RegistryClient(RegistryConnection(url, **options), clock.sleep, lambda: clock.time)


def refusal(status: int, code: str, **headers: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": f"{code} it is"}]}).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


# -- Signing in ---------------------------------------------------------------------------------------


def test_basic_authentication_is_used_when_the_registry_asks_for_it() -> None:
    def answering(request: Request) -> Answer:
        if request.account != "pull:s3cret":
            return refusal(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="rack"')
        return FOUND

    with serving(answering) as front, client(front.url, username="pull", password="s3cret") as registry:
        assert registry.manifest("edge/worker", "1") is not None
        assert registry.manifest("edge/worker", "2") is not None
        assert [request.account for request in front.requests] == [None, "pull:s3cret", "pull:s3cret"]
    with serving(answering) as front, client(front.url, username="pull", password="wrong") as registry:
        with pytest.raises(errors.RegistryUnauthorized, match=r"401: UNAUTHORIZED.*`registry_password`") as caught:
            registry.manifest("edge/worker", "1")
        assert "wrong" not in str(caught.value) + repr(registry.connection)


def test_a_token_is_fetched_for_each_repository_and_again_when_it_has_ended() -> None:
    tokens: list[str] = []

    def answering(request: Request) -> Answer:
        path, _, query = request.path.partition("?")
        if path == "/token":
            assert request.account == "pull:s3cret"
            asked = urllib.parse.parse_qs(query)
            tokens.append(f"{asked['scope'][0]}#{len(tokens)}")
            return 200, {}, json.dumps({"token": tokens[-1]}).encode()
        repository = path.split("/manifests/")[0].removeprefix("/v2/")
        valid = [token for token in tokens if token.startswith(f"repository:{repository}:")][-1:]
        if f"Bearer {''.join(valid)}" == request.authorization and valid and not ended.pop("now", False):
            return FOUND
        challenge = f'Bearer realm="{front.url}/token",service="rack",scope="repository:{repository}:pull"'
        return refusal(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    ended: dict[str, bool] = {}
    with serving(answering) as front, client(front.url, username="pull", password="s3cret") as registry:
        for repository in ("edge/worker", "edge/worker", "edge/predictor"):
            assert registry.manifest(repository, "1") is not None
        assert tokens == ["repository:edge/worker:pull#0", "repository:edge/predictor:pull#1"]
        ended["now"] = True
        assert registry.manifest("edge/worker", "1") is not None
        assert tokens[2:] == ["repository:edge/worker:pull#2"]


def test_a_token_service_without_tls_gets_no_password() -> None:
    challenge = 'Bearer realm="http://tokens.example.com/",service="rack"'
    with (
        serving(lambda request: refusal(401, "UNAUTHORIZED", WWW_Authenticate=challenge)) as front,
        client(front.url, username="pull", password="s3cret") as registry,
        pytest.raises(errors.RegistryUntrusted, match=r"tokens\.example\.com/, which is not https"),
    ):
        registry.check()


def test_a_blob_is_followed_to_another_server_without_the_password() -> None:
    def registry_answers(request: Request) -> Answer:
        if request.account is None:
            return refusal(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="rack"')
        return 307, {"Location": f"{store.url}/bucket/blob?signature=x"}, b""

    with (
        serving(lambda request: (200, {}, b"content")) as store,
        serving(registry_answers) as front,
        client(front.url, username="pull", password="s3cret") as registry,
    ):
        assert registry.blob("edge/worker", digest_of(b"content")) == b"content"
        assert [(request.path, request.authorization) for request in store.requests] == [
            ("/bucket/blob?signature=x", None)
        ]


# -- Pages ----------------------------------------------------------------------------------------------


def test_tags_and_repositories_come_in_pages() -> None:
    def answering(request: Request) -> Answer:
        path, _, query = request.path.partition("?")
        asked = urllib.parse.parse_qs(query)
        names = [f"n{number}" for number in range(7)]
        rest = names[names.index(asked["last"][0]) + 1 :] if "last" in asked else names
        headers = {"Link": f'<{path}?n=3&last={rest[2]}>; rel="next"'} if len(rest) > 3 else {}
        key = "repositories" if path == "/v2/_catalog" else "tags"
        return 200, headers, json.dumps({key: rest[:3]}).encode()

    with serving(answering) as front, client(front.url) as registry:
        assert registry.tags("edge/worker") == [f"n{number}" for number in range(7)]
        assert registry.repositories() == [f"n{number}" for number in range(7)]
        assert len(front.requests) == 6


def test_pages_of_another_server_are_not_followed() -> None:
    link = {"Link": '<http://other.example.com/v2/_catalog?n=3>; rel="next"'}
    with (
        serving(lambda request: (200, link, b'{"repositories": ["a"]}')) as front,
        client(front.url) as registry,
        pytest.raises(errors.RegistryError, match=r"another server: http://other\.example\.com"),
    ):
        registry.repositories()


# -- Waiting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_is_asked_again_when_it_says(status: int) -> None:
    answers = [refusal(status, "TOOMANYREQUESTS", Retry_After="60"), refusal(status, "TOOMANYREQUESTS"), (201, {}, b"")]
    clock = Clock()
    with serving(lambda request: answers.pop(0)) as front, client(front.url, clock) as registry:
        registry.put_manifest("edge/worker", "1", MANIFEST, IMAGE_TYPES[0])
    assert clock.sleeps == [60, 0.2]


def test_an_upload_that_a_restart_cut_is_begun_anew() -> None:
    sent: list[str] = []

    def answering(request: Request) -> Answer:
        sent.append(f"{request.method} {request.path.partition('uploads/')[2].partition('?')[0]}".strip())
        if request.method == "HEAD":
            return 404, {}, b""
        if request.method == "POST":
            return 202, {"Location": f"/v2/edge/worker/blobs/uploads/{len(sent)}"}, b""
        return (201, {}, b"") if sent.count("POST") == 2 else refusal(503, "UNAVAILABLE", Retry_After="5")

    clock = Clock()
    with serving(answering) as front, client(front.url, clock) as registry:
        registry.put_blob("edge/worker", b"a layer")
    assert sent == ["HEAD", "POST", "PUT 2", "POST", "PUT 4"]
    assert clock.sleeps == [5]


def test_an_upload_that_is_cut_again_and_again_is_an_error_at_the_deadline() -> None:
    def answering(request: Request) -> Answer:
        if request.method == "POST":
            return 202, {"Location": "/v2/edge/worker/blobs/uploads/1"}, b""
        return (404, {}, b"") if request.method == "HEAD" else refusal(503, "UNAVAILABLE", Retry_After="60")

    clock = Clock()
    with (
        serving(answering) as front,
        client(front.url, clock, retry_seconds=150) as registry,
        pytest.raises(errors.RegistryBusy, match="503: UNAVAILABLE"),
    ):
        registry.put_blob("edge/worker", b"a layer")
    assert clock.time == 120


def test_retry_after_may_be_a_date() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    answers = [refusal(503, "", Retry_After=format_datetime(later, usegmt=True)), FOUND]
    clock = Clock()
    with serving(lambda request: answers.pop(0)) as front, client(front.url, clock) as registry:
        registry.manifest("edge/worker", "1")
    assert 50 < clock.sleeps[0] <= 100


def test_a_registry_that_stays_busy_is_an_error_at_the_deadline() -> None:
    clock = Clock()
    with (
        serving(lambda request: refusal(429, "TOOMANYREQUESTS", Retry_After="60")) as front,
        client(front.url, clock, retry_seconds=150) as registry,
        pytest.raises(errors.RegistryBusy, match=r"429: TOOMANYREQUESTS.*`registry_retry_seconds`"),
    ):
        registry.put_manifest("edge/worker", "1", MANIFEST, IMAGE_TYPES[0])
    assert clock.time == 120


def test_a_read_waits_for_a_registry_that_restarts_and_a_write_is_not_sent_twice() -> None:
    with serving(lambda request: FOUND) as front:
        gone = front.url
    clock = Clock()
    with client(gone, clock, retry_seconds=10) as registry:
        with pytest.raises(errors.RegistryUnreachable, match="cannot be reached"):
            registry.manifest("edge/worker", "1")
        assert sum(clock.sleeps) <= 10 and len(clock.sleeps) > 3
        clock.sleeps.clear()
        with pytest.raises(errors.RegistryUnreachable):
            registry.delete_manifest("edge/worker", digest_of(b"x"))
        assert clock.sleeps == []


# -- What it does not believe -------------------------------------------------------------------------


def test_content_that_is_not_what_its_digest_says_is_refused() -> None:
    with serving(lambda request: (200, {"Content-Type": IMAGE_TYPES[0]}, MANIFEST)) as front, client(front.url) as one:
        with pytest.raises(errors.RegistryCorrupt, match=digest_of(MANIFEST)):
            one.manifest("edge/worker", digest_of(b"another"))
        with pytest.raises(errors.RegistryCorrupt, match=f"{len(MANIFEST)} bytes came"):
            one.blob("edge/worker", digest_of(b"another"))


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (refusal(403, "DENIED"), errors.RegistryDenied, "403: DENIED: DENIED it is"),
        (refusal(405, "UNSUPPORTED"), errors.RegistryUnsupported, "storage.delete.enabled"),
        ((500, {}, b"<b>broken</b>"), errors.RegistryError, "500: <b>broken</b>"),
        (FOUND, errors.RegistryError, "the registry answered 200"),
    ],
)
def test_an_error_says_what_was_asked_what_was_answered_and_what_to_do(
    answer: Answer, error: type[Exception], text: str
) -> None:
    with (
        serving(lambda request: answer) as front,
        client(front.url) as registry,
        pytest.raises(error, match=f"Deleting edge/worker@{digest_of(b'x')}: .*{text}"),
    ):
        registry.delete_manifest("edge/worker", digest_of(b"x"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": "https://registry.lab/edge"}, "is not the address of a registry"),
        ({"url": "ftp://registry.lab"}, "is not the address of a registry"),
        ({"url": "http://registry.lab", "username": "a", "password": "b"}, "a password would go to registry.lab"),
        ({"url": "registry.lab:5000", "username": "a"}, "one of `registry_username` and `registry_password`"),
        ({"url": "registry.lab:5000", "ca_path": "/nowhere"}, "`ca_path` /nowhere cannot be read"),
    ],
)
def test_connections_that_cannot_be_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(errors.RegistrySettingsError, match=complaint):
        RegistryClient(RegistryConnection(**options))


@pytest.mark.parametrize(("repository", "reference"), [("Edge", "1"), ("../x", "1"), ("w", "a b"), ("w", "/")])
def test_names_that_the_spec_does_not_allow_are_refused(repository: str, reference: str) -> None:
    with client("http://127.0.0.1:1") as registry, pytest.raises(errors.RegistrySettingsError):
        registry.digest(repository, reference)


def test_a_certificate_of_an_unknown_authority_is_refused_and_that_of_a_known_one_taken(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(lambda request: FOUND, tls) as front:
        with client(front.url) as registry, pytest.raises(errors.RegistryUntrusted, match=r"not trusted.*`ca_path`"):
            registry.check()
        for trusting in ({"ca_path": str(certificate)}, {"validate_certs": False}):
            with client(front.url, **trusting) as registry:
                registry.check()


def self_signed(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "registry.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
