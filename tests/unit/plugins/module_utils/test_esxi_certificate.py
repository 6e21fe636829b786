# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that an ESXi host makes at its installation: issued by a name that has no certificate."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")
pytest.importorskip("paramiko", reason="paramiko is not installed")
x509 = pytest.importorskip("cryptography.x509")

from ansible_collections.edge.rack.plugins.module_utils.esxi import api, connection  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


def host_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """The certificate and the key, in files."""
    key, installer = (ec.generate_private_key(ec.SECP256R1()) for number in range(2))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "VMware Installer")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(installer, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return files


def shake_hands(shown: tuple[Path, Path], trusted: Path, hostname: str) -> None:
    """Raises ssl.SSLError where the client does not trust the host."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*shown)
    client = api._tls(connection.EsxiConnection(hostname, "root", "x", ca_path=str(trusted)))
    here, there = socket.socketpair()

    def serve() -> None:
        with there, suppress(OSError):
            server.wrap_socket(there, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with here, client.wrap_socket(here, server_hostname=hostname):
            pass
    finally:
        thread.join()


def test_it_is_trusted_when_it_is_named_itself(tmp_path: Path) -> None:
    files = host_certificate(tmp_path, "esxi.example.com")
    shake_hands(files, files[0], "esxi.example.com")


def test_another_host_of_the_same_issuer_is_not(tmp_path: Path) -> None:
    mine, other = host_certificate(tmp_path, "esxi.example.com"), host_certificate(tmp_path, "other.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(other, mine[0], "other.example.com")


def test_the_name_in_it_counts(tmp_path: Path) -> None:
    files = host_certificate(tmp_path, "localhost.localdomain")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(files, files[0], "esxi.example.com")
