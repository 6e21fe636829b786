"""How many bytes a training puts on the wire: by the ring's formula, and by the kernel's own count."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

SIOCGIFADDR = 0x8915  # netdevice(7)


def ring_bytes(payload: int, ranks: int) -> int:
    """Bytes that each rank sends to allreduce `payload` bytes around a ring: 2 (N - 1) / N x payload.

    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009.
    """
    return round(2 * (ranks - 1) / ranks * payload)


def interface_in(subnet: str) -> str | None:
    """The network interface of this host whose IPv4 address lies in `subnet` (CIDR)."""
    network = ipaddress.ip_network(subnet)
    for _index, name in socket.if_nameindex():
        address = _address_of(name)
        if address is not None and address in network:
            return name
    return None


def bytes_sent(interface: str) -> int:
    """Bytes that the interface has sent since it came up.

    Raises:
        OSError: there is no such interface.
    """
    return int(Path("/sys/class/net", interface, "statistics/tx_bytes").read_text())


def link_bits(interface: str) -> int | None:
    """Bits per second that the interface's link carries; None where its driver does not say, as a bridge's."""
    try:
        megabits = int(Path("/sys/class/net", interface, "speed").read_text())
    except OSError:
        return None
    return megabits * 1_000_000 if megabits > 0 else None


def mtu(interface: str) -> int:
    """The largest packet that the interface sends, in bytes.

    Raises:
        OSError: there is no such interface.
    """
    return int(Path("/sys/class/net", interface, "mtu").read_text())


def _address_of(interface: str) -> ipaddress.IPv4Address | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", interface[:15].encode()))
        except OSError:  # an interface without an IPv4 address
            return None
    return ipaddress.IPv4Address(answer[20:24])
