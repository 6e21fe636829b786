"""What the operator decides when the simulator starts."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

VERSIONS = ("3.4.10", "3.6.5")
# The lab's own network.
SUBNET = IPv4Network("10.77.0.0/24")
GATEWAY = IPv4Address("10.77.0.1")
RANGE_START = IPv4Address("10.77.0.20")
RANGE_END = IPv4Address("10.77.0.250")


class SettingsError(Exception):
    """A setting that cannot be used; the message says which and what it should look like."""


@dataclass(frozen=True)
class ApiKey:
    """An API key `consumer:token:secret`; MAAS's consumer secret is always empty."""

    consumer: str
    token: str
    secret: str

    @classmethod
    def parse(cls, text: str) -> ApiKey:
        """Read a key as MAAS prints it."""
        parts = text.strip().split(":")
        if len(parts) != 3 or not all(parts):
            raise SettingsError("an API key has three non-empty parts: consumer:token:secret")
        return cls(*parts)


@dataclass(frozen=True)
class Settings:
    """One region."""

    data: Path
    api_key: ApiKey
    version: str = "3.6.5"
    subnet: IPv4Network = SUBNET
    gateway: IPv4Address = GATEWAY
    range_start: IPv4Address = RANGE_START
    range_end: IPv4Address = RANGE_END
    external_url: str = "http://10.77.0.10:5240/MAAS"
    node_timeout_seconds: float = 600.0
    # How long the tests of a machine take after its commissioning; a real region runs smartctl then.
    testing_seconds: float = 1.0
    # Pauses before each look at a BMC that was told to change; provisioningserver's driver waits 1 to 12 s.
    power_waits: tuple[float, ...] = (0.2, 1, 2, 2, 4, 6)
    username: str = "admin"

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise SettingsError(f"version {self.version} is not one of {', '.join(VERSIONS)}")
        for address in (self.gateway, self.range_start, self.range_end):
            if address not in self.subnet:
                raise SettingsError(f"{address} is not in the subnet {self.subnet}")
        if self.range_start > self.range_end:
            raise SettingsError("the dynamic range ends before it starts")

    @property
    def release(self) -> tuple[int, int]:
        """(3, 4) or (3, 6): what the two recorded regions differ by."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)
