"""`maas/?op=get_config` and `set_config`.

The names are those of the recorded regions; checks, stored forms and defaults follow MAAS's published source
(maasserver/forms/settings.py, models/config.py). A setting whose check is not known here is not taken: 501.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from lab.maas_simulator.answer import JSON_PLAIN, TEXT_PLAIN, Answer
from lab.maas_simulator.boot_images import choices, default_series, kernel_of, synced_series
from lab.maas_simulator.errors import RefusedError, bad_request, form_errors, not_simulated
from lab.maas_simulator.region import Call, Region

_NAMES = """
maas_name theme kernel_opts enable_http_proxy maas_proxy_port use_peer_proxy prefer_v4_proxy
http_proxy default_dns_ttl upstream_dns dnssec_validation maas_internal_domain dns_trusted_acl
ntp_servers ntp_external_only allow_only_trusted_transfers remote_syslog maas_syslog_port
network_discovery active_discovery_interval default_boot_interface_link_type default_osystem
default_distro_series default_min_hwe_kernel enable_kernel_crash_dump default_storage_layout
commissioning_distro_series enable_third_party_drivers windows_kms_host
enable_disk_erasing_on_release disk_erase_with_secure_erase disk_erase_with_quick_erase
boot_images_auto_import boot_images_no_proxy curtin_verbose force_v1_network_yaml enable_analytics
completed_intro max_node_commissioning_results max_node_testing_results
max_node_installation_results max_node_release_results subnet_ip_exhaustion_threshold_count
release_notifications use_rack_proxy node_timeout prometheus_enabled prometheus_push_gateway
prometheus_push_interval promtail_enabled promtail_port enlist_commissioning maas_auto_ipmi_user
maas_auto_ipmi_user_privilege_level maas_auto_ipmi_k_g_bmc_key maas_auto_ipmi_cipher_suite_id
maas_auto_ipmi_workaround_flags vcenter_server vcenter_username vcenter_password vcenter_datacenter
hardware_sync_interval tls_cert_expiration_notification_enabled
tls_cert_expiration_notification_interval session_length auto_vlan_creation
"""
_SINCE_3_6 = [
    "allow_only_trusted_transfers",
    "default_boot_interface_link_type",
    "enable_kernel_crash_dump",
    "max_node_release_results",
]
_DOMAIN = re.compile(r"([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?\.?")
_SEPARATORS = re.compile(r"[,\s]+")
_INTERVALS = ["0", "604800", "86400", "43200", "21600", "10800", "3600", "1800", "600"]

# Settings by the form field that a real region has for them, with their defaults.
_TEXT: dict[str, Any] = {
    "maas_name": "maas-simulator",
    "theme": "",
    "kernel_opts": None,
    "windows_kms_host": None,
    "prometheus_push_gateway": None,
    "maas_auto_ipmi_user": "maas",
    "maas_auto_ipmi_k_g_bmc_key": "",
    "vcenter_server": "",
    "vcenter_username": "",
    "vcenter_password": "",
    "vcenter_datacenter": "",
}
_FLAGS = {
    "enable_http_proxy": True,
    "use_peer_proxy": False,
    "prefer_v4_proxy": False,
    "ntp_external_only": False,
    "enable_third_party_drivers": True,
    "enable_disk_erasing_on_release": False,
    "disk_erase_with_secure_erase": True,
    "disk_erase_with_quick_erase": False,
    "boot_images_auto_import": True,
    "boot_images_no_proxy": False,
    "curtin_verbose": True,
    "force_v1_network_yaml": False,
    "enable_analytics": True,
    "completed_intro": True,
    "release_notifications": True,
    "use_rack_proxy": True,
    "prometheus_enabled": False,
    "promtail_enabled": False,
    "enlist_commissioning": True,
    "tls_cert_expiration_notification_enabled": False,
}
# name -> (default, smallest value)
_NUMBERS: dict[str, tuple[int, int | None]] = {
    "default_dns_ttl": (30, None),
    "max_node_commissioning_results": (10, 1),
    "max_node_testing_results": (10, 1),
    "max_node_installation_results": (3, 1),
    "subnet_ip_exhaustion_threshold_count": (16, 1),
    "node_timeout": (30, 1),
    "prometheus_push_interval": (60, None),
}
_PORTS = {"maas_proxy_port": 8000, "maas_syslog_port": 5247}
# Compared and stored as text, as a form's choices are.
_CHOICES: dict[str, tuple[Any, list[str]]] = {
    "dnssec_validation": ("auto", ["auto", "yes", "no"]),
    "network_discovery": ("enabled", ["enabled", "disabled"]),
    "active_discovery_interval": (10800, _INTERVALS),
}
_OTHER_DEFAULTS: dict[str, Any] = {
    "http_proxy": None,
    "upstream_dns": None,
    "ntp_servers": "ntp.ubuntu.com",
    "remote_syslog": None,
    "maas_internal_domain": "maas-internal",
    "default_osystem": "ubuntu",
    "default_min_hwe_kernel": "",
}


def _invalid(value: str, field: str, allowed: Sequence[str]) -> ValueError:
    listed = ", ".join(f"'{name}'" for name in allowed)
    return ValueError(f"'{value}' is not a valid {field}.  It should be one of: {listed}.")


def _number(value: str, least: int | None) -> int | None:
    if value == "":
        return None
    if not re.fullmatch(r"\s*[+-]?\d+\s*", value):
        raise ValueError("Enter a whole number.")
    if least is not None and int(value) < least:
        raise ValueError(f"Ensure this value is greater than or equal to {least}.")
    return int(value)


def _port(name: str, value: str) -> int | None:
    number = _number(value, None)
    if number is None or (name == "maas_syslog_port" and number == 5247):
        return number
    if not 0 < number <= 65535:
        raise ValueError("Unable to change port number. Port number is not between 0 - 65535.")
    if number <= 1023:
        raise ValueError("Unable to change port number. Port number is reserved for system services.")
    if 5240 <= number <= 5270:
        raise ValueError("Unable to change port number. Port number is reserved for MAAS services.")
    return number


def _addresses(value: str) -> str:
    items = list(filter(None, _SEPARATORS.split(value)))
    for item in items:
        try:
            ipaddress.ip_address(item)
        except ValueError:
            raise ValueError(f"Invalid IP address: {item}; provide a list of space-separated IP addresses") from None
    return " ".join(items)


def _hosts(value: str) -> str:
    items = list(filter(None, _SEPARATORS.split(value)))
    for item in items:
        if not _DOMAIN.fullmatch(item) and ":" not in item:
            raise not_simulated(f"MAAS.set_config ntp_servers with {item!r}")
    return " ".join(items)


def _syslog(value: str) -> str | None:
    """Always with its port."""
    if not value:
        return None
    return value if re.search(r":\d+$", value) else f"{value}:514"


def _url(value: str) -> str:
    """Django's URLField adds a scheme that is missing."""
    if not value:
        return ""
    value = value if "://" in value else f"http://{value}"
    if not re.fullmatch(r"(https?|ftps?)://[^\s/?#]+(:\d+)?([/?#]\S*)?", value):
        raise ValueError("Enter a valid URL.")
    return value


def _domain(value: str) -> str:
    if value and not _DOMAIN.fullmatch(value):
        raise ValueError(f"Invalid domain name: {value}.")
    return value


def _releases(region: Region) -> list[str]:
    osystem = read(region, "default_osystem")
    return [choice.series for choice in choices(region) if choice.osystem == osystem] or ["---"]


def _cleaned(region: Region, name: str, value: str) -> Any:
    """The value as a region stores it; ValueError with its text where it refuses."""
    if name in _TEXT:
        return value
    if name in _FLAGS:
        # Django's check box: any text but these is a yes.
        return value.lower() != "false" and value != ""
    if name in _NUMBERS:
        return _number(value, _NUMBERS[name][1])
    if name in _PORTS:
        return _port(name, value)
    fields: dict[str, Callable[[str], Any]] = {
        "upstream_dns": _addresses,
        "ntp_servers": _hosts,
        "remote_syslog": _syslog,
        "http_proxy": _url,
        "maas_internal_domain": _domain,
    }
    if name in fields:
        return fields[name](value)
    return _chosen(region, name, value)


def _chosen(region: Region, name: str, value: str) -> str:
    series = read(region, "commissioning_distro_series")
    choices_of: dict[str, tuple[str, Callable[[], list[str]]]] = {
        "default_osystem": ("osystem", lambda: ["custom", "ubuntu"]),
        "default_distro_series": ("release", lambda: _releases(region)),
        "commissioning_distro_series": (name, lambda: synced_series(region)),
        "default_min_hwe_kernel": (name, lambda: ["", kernel_of(series)]),
        **{key: (key, lambda key=key: _CHOICES[key][1]) for key in _CHOICES},  # type: ignore[misc]
    }
    if name not in choices_of:
        raise not_simulated(f"MAAS.set_config name={name}")
    field, allowed = choices_of[name]
    if value not in allowed():
        raise _invalid(value, field, allowed())
    return value


def _names(region: Region) -> list[str]:
    return [name for name in _NAMES.split() if region.release >= (3, 6) or name not in _SINCE_3_6]


def _require_name(call: Call, name: str) -> None:
    names = _names(call.region)
    if name not in names:
        text = f"{name} is not a valid config setting (valid settings are: {', '.join(names)})."
        raise RefusedError(Answer(400, json.dumps({name: [text]}), JSON_PLAIN))


def read(region: Region, name: str) -> Any:
    """The value of a setting, or its default."""
    row = region.store.row("SELECT value FROM config WHERE name = ?", name)
    if row is not None:
        return json.loads(row["value"])
    if name in ("commissioning_distro_series", "default_distro_series"):
        return default_series(region)
    defaults: dict[str, Any] = {
        **_TEXT,
        **_FLAGS,
        **_PORTS,
        **{key: default for key, (default, _) in _NUMBERS.items()},
        **{key: default for key, (default, _) in _CHOICES.items()},
        **_OTHER_DEFAULTS,
    }
    if name not in defaults:
        raise not_simulated(f"MAAS.get_config name={name}")
    return defaults[name]


def get_config(call: Call) -> Answer:
    """MAAS.get_config"""
    name = call.query.get("name")
    _require_name(call, name)
    return Answer.json(read(call.region, name), content_type=JSON_PLAIN)


def set_config(call: Call) -> Answer:
    """MAAS.set_config"""
    name = call.data.get("name")
    _require_name(call, name)
    if "value" not in call.data:
        raise bad_request("No provided value!")
    try:
        value = _cleaned(call.region, name, call.data.get("value").strip())
    except ValueError as error:
        raise form_errors({name: [str(error)]}) from error
    call.store.db.execute("INSERT OR REPLACE INTO config VALUES (?, ?)", (name, json.dumps(value)))
    return Answer(200, "OK", TEXT_PLAIN)
