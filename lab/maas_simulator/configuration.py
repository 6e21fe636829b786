"""`maas/?op=get_config` and `set_config`.

The names are those of the recorded regions. A value that a real region would check in a way that is not
known here is not taken: 501.
"""

from __future__ import annotations

import json

from lab.maas_simulator.answer import JSON_PLAIN, TEXT_PLAIN, Answer
from lab.maas_simulator.errors import RefusedError, form_errors, not_simulated
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
# Free text to a real region, or nearly so.
_TEXT = ("maas_name", "kernel_opts", "http_proxy", "upstream_dns", "ntp_servers", "remote_syslog")
_DEFAULTS = {
    "maas_name": "maas-simulator",
    "kernel_opts": "",
    "http_proxy": "",
    "upstream_dns": None,
    "ntp_servers": "ntp.ubuntu.com",
    "remote_syslog": None,
    "default_osystem": "ubuntu",
    "commissioning_distro_series": "jammy",
    "maas_internal_domain": "maas-internal",
    "completed_intro": True,
}


def _names(region: Region) -> list[str]:
    return [name for name in _NAMES.split() if region.release >= (3, 6) or name not in _SINCE_3_6]


def _require_name(call: Call, name: str) -> None:
    names = _names(call.region)
    if name not in names:
        text = f"{name} is not a valid config setting (valid settings are: {', '.join(names)})."
        raise RefusedError(Answer(400, json.dumps({name: [text]}), JSON_PLAIN))


def get_config(call: Call) -> Answer:
    """MAAS.get_config"""
    name = call.query.get("name")
    _require_name(call, name)
    row = call.store.row("SELECT value FROM config WHERE name = ?", name)
    if row is None and name not in _DEFAULTS:
        raise not_simulated(f"MAAS.get_config name={name}")
    return Answer.json(json.loads(row["value"]) if row else _DEFAULTS[name], content_type=JSON_PLAIN)


def set_config(call: Call) -> Answer:
    """MAAS.set_config"""
    name, value = call.data.get("name"), call.data.get("value")
    _require_name(call, name)
    if name == "default_osystem":
        if value not in ("custom", "ubuntu"):
            text = f"'{value}' is not a valid osystem.  It should be one of: 'custom', 'ubuntu'."
            raise form_errors({name: [text]})
    elif name not in _TEXT:
        raise not_simulated(f"MAAS.set_config name={name}")
    call.store.db.execute("INSERT OR REPLACE INTO config VALUES (?, ?)", (name, json.dumps(value)))
    return Answer(200, "OK", TEXT_PLAIN)
