# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils import maas
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import API_KEY, Answer, FakeRegion, machine

CONFLICT = Answer(409, "<html><h1>Conflict</h1></html>", {"Retry-After": "0"}, "text/html; charset=utf-8")


def connect(url: str, **options: Any) -> maas.MaasClient:
    return maas.MaasClient(maas.MaasConnection.from_options({"maas_url": url, "maas_api_key": API_KEY, **options}))


@pytest.mark.parametrize("end", ["", "/", "/api/2.0", "/api/2.0/"])
def test_the_url_is_taken_as_people_write_it(end: str) -> None:
    assert maas.region_url("http://maas:5240/MAAS" + end) == "http://maas:5240/MAAS"


@pytest.mark.parametrize("url", ["maas.example.com", "ftp://maas/MAAS", "http://me:pw@maas/MAAS"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(maas.MaasSettingsError, match="maas_url"):
        maas.region_url(url)


def test_the_key_file_goes_before_the_key(tmp_path: Path) -> None:
    (tmp_path / "maas.key").write_text("a:b:c\n")
    options = {"maas_url": "http://maas/MAAS", "maas_api_key": "x:y:z", "maas_api_key_file": "maas.key"}
    connection = maas.MaasConnection.from_options(options, relative_to=str(tmp_path))
    assert connection.api_key == "a:b:c"
    assert "a:b:c" not in repr(connection)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "`maas_api_key` is empty"),
        ({"maas_api_key": "only-one"}, "three parts"),
        ({"maas_api_key_file": "/nonexistent/key"}, "/nonexistent/key"),
    ],
)
def test_a_key_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(maas.MaasSettingsError, match=message):
        maas.MaasConnection.from_options({"maas_url": "http://maas/MAAS", **options})


def test_what_is_read_is_plain_data(region: FakeRegion, client: maas.MaasClient) -> None:
    region.add(machine(1), machine(2))
    assert [row["hostname"] for row in client.read_machines(hostname=["nuc-002"])] == ["nuc-002"]
    assert client.read_machines(id=[]) == []
    assert len(region.requests) == 1


def test_a_filter_too_long_for_a_url_is_split(region: FakeRegion, client: maas.MaasClient) -> None:
    region.add(*(machine(n) for n in range(1, 901)))
    rows = client.read_machines(id=[f"sys{n:03d}" for n in range(1, 901)], pool=["default"])
    assert len(rows) == 900
    assert len(region.requests) == 3


def test_nobody_there_names_the_url() -> None:
    with connect("http://127.0.0.1:9/MAAS") as client, pytest.raises(maas.MaasUnreachable) as error:
        client.call("Machines.read")
    assert "http://127.0.0.1:9/MAAS cannot be reached" in str(error.value)
    assert "Check `maas_url`" in str(error.value)


def test_a_wrong_key_names_the_option(region: FakeRegion) -> None:
    with connect(region.url, maas_api_key="a:b:c") as client, pytest.raises(maas.MaasUnauthorized) as error:
        client.call("Machines.read")
    assert "401: Authorization Error: Invalid API key" in str(error.value)
    assert "Check `maas_api_key`" in str(error.value)


def test_a_form_error_names_the_fields(region: FakeRegion, client: maas.MaasClient) -> None:
    body = {"hostname": ["Node with this Hostname already exists."], "__all__": ["No."]}
    region.canned["POST", "machines/"] = [Answer(400, body)]
    with pytest.raises(maas.MaasRefused, match=r"400: hostname: Node with this Hostname already exists\.; No"):
        client.call("Machines.create", hostname="nuc-001")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, maas.MaasForbidden), (404, maas.MaasNotFound), (409, maas.MaasConflict), (500, maas.MaasUnavailable)],
)
def test_refusals_have_types(region: FakeRegion, client: maas.MaasClient, status: int, kind: type) -> None:
    region.canned["POST", "machines/x/"] = [Answer(status, "because")]
    with pytest.raises(kind, match=r"Machine\.release\(system_id=x\)"):
        client.call("Machine.release", system_id="x")
    assert len(region.requests) == 1


def test_a_database_conflict_is_tried_again(region: FakeRegion, client: maas.MaasClient) -> None:
    region.add(machine(1, status=6))
    region.canned["POST", "machines/sys001/"] = [CONFLICT, CONFLICT]
    assert client.call("Machine.release", system_id="sys001")["status_name"] == "Releasing"
    assert len(region.requests) == 3


def test_only_reads_are_repeated_after_a_gateway_error(region: FakeRegion, client: maas.MaasClient) -> None:
    region.canned["GET", "machines/"] = [Answer(504), Answer(503)]
    assert client.call("Machines.read") == []
    region.canned["POST", "machines/x/"] = [Answer(504), Answer(504)]
    with pytest.raises(maas.MaasUnavailable):
        client.call("Machine.deploy", system_id="x")
    assert len(region.writes) == 1


def test_no_body_is_sent_where_nothing_is_said(region: FakeRegion, client: maas.MaasClient) -> None:
    region.add(machine(1, status=6))
    client.call("Machine.release", system_id="sys001")
    client.call("Machine.delete", system_id="sys001")
    assert [(r.method, r.raw) for r in region.requests] == [("POST", b""), ("DELETE", b"")]
    assert not any(r.content_type.startswith("multipart") for r in region.requests)


def test_several_calls_give_answers_and_refusals_in_order(region: FakeRegion, client: maas.MaasClient) -> None:
    region.add(machine(1, status=6))
    answers = client.call_each([("Machine.release", {"system_id": i}) for i in ("nope", "sys001")])
    assert isinstance(answers[0], maas.MaasNotFound)
    assert answers[1]["status_name"] == "Releasing"


def test_a_read_only_client_never_writes(region: FakeRegion) -> None:
    with maas.MaasClient(maas.MaasConnection(region.url, API_KEY), read_only=True) as client:
        assert client.call("Machines.read") == []
        with pytest.raises(AssertionError, match="read-only"):
            client.call("Machine.delete", system_id="x")
    assert region.writes == []


def test_a_slow_region_is_named_with_the_option(region: FakeRegion) -> None:
    with connect(region.url, maas_timeout_seconds=1) as client:
        client.call("Machines.read")
        region._lock.acquire()
        try:
            with pytest.raises(maas.MaasLostCall, match=r"within 1 seconds.*run again.*maas_timeout_seconds"):
                client.call("Machine.release", system_id="x")
        finally:
            region._lock.release()


def test_rounds_grow_and_end_at_the_deadline() -> None:
    now = [0.0]
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 2))
        now[0] += seconds

    rounds = maas.Rounds(30, sleep=sleep, clock=lambda: now[0])
    assert list(rounds)[-1] == 0
    assert slept[:4] == [1.0, 1.5, 2.25, 3.38]
    assert max(slept) <= 10
    assert now[0] == 30


def test_statuses_are_filtered_as_people_write_them() -> None:
    assert maas.status_filter("Failed deployment") == "failed_deployment"
    assert hasattr(maas.Status, maas.status_filter("READY").upper())
    assert hasattr(maas.Status, maas.status_filter("Failed to enter rescue mode").upper())


def test_tls_is_checked_against_the_ca_that_is_named(tmp_path: Path) -> None:
    x509 = pytest.importorskip("cryptography.x509")
    certificate = make_certificate(x509, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FakeRegion(context) as region:
        with connect(region.url) as client, pytest.raises(maas.MaasUntrusted, match=r"not trusted.*`ca_path`"):
            client.call("Machines.read")
        with connect(region.url, ca_path=str(certificate)) as client:
            assert client.call("Machines.read") == []
        with connect(region.url, validate_certs=False) as client:
            assert client.call("Machines.read") == []
    with pytest.raises(maas.MaasSettingsError, match="ca_path"):
        connect(region.url, ca_path="/nonexistent.pem").call("Machines.read")


def test_who_speaks_no_tls_is_not_taken_for_nobody(region: FakeRegion) -> None:
    with connect(region.url.replace("http:", "https:")) as client, pytest.raises(maas.MaasUntrusted) as raised:
        client.read_machines()
    assert "no TLS with https://" in str(raised.value)
    assert "names the port with TLS" in str(raised.value)


def make_certificate(x509: Any, folder: Path) -> Path:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "region")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "region.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    return path
