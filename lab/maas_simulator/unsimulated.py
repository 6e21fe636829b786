"""What MAAS's API 2.0 offers besides: known by name, answered 501.

From MAAS's API reference. `OTHER_OPERATIONS` belong to handlers that are otherwise simulated; an operation
that is in neither table is unknown to a real region too, and answered 400 as that does.
"""

# handler -> actions; an action with a verb in front is an `op`.
OTHER_OPERATIONS: dict[str, str] = {
    "Machines": (
        "POST:accept POST:accept_all POST:add_chassis POST:clone POST:release POST:set_zone "
        "GET:list_allocated GET:power_parameters"
    ),
    "Machine": (
        "GET:details GET:get_curtin_config GET:get_token POST:clear_default_gateways "
        "POST:mount_special "
        "POST:restore_default_configuration POST:restore_networking_configuration "
        "POST:restore_storage_configuration POST:set_storage_layout "
        "POST:unmount_special"
    ),
    "Interfaces": "POST:create_bond POST:create_bridge POST:create_physical POST:create_vlan",
    "Interface": (
        "read update delete POST:add_tag POST:disconnect POST:remove_tag POST:set_default_gateway POST:unlink_subnet"
    ),
    "Tag": "GET:devices GET:rack_controllers GET:region_controllers POST:rebuild",
    "BootResources": "GET:is_importing POST:import POST:stop_import",
    "SSHKeys": "POST:import",
    "Subnet": ("GET:ip_addresses GET:reserved_ip_ranges GET:statistics GET:unreserved_ip_ranges"),
    "Discoveries": "GET:by_unknown_ip GET:by_unknown_ip_and_mac POST:clear_by_mac_and_ip POST:scan",
    "Domains": "create POST:set_serial",
    "Domain": "update delete POST:set_default",
    "NodeScript": "POST:add_tag POST:remove_tag POST:revert",
    "NodeScriptResult": "update delete",
    "RackControllers": "POST:import_boot_images",
    "RackController": "update delete",
    "Users": "create",
    "User": "delete",
}

# (handler, path, actions)
OTHER_RESOURCES: tuple[tuple[str, str, str], ...] = (
    ("Account", "account/", "GET:list_authorisation_tokens POST:create_authorisation_token"),
    ("Bcaches", "nodes/{system_id}/bcaches/", "create read"),
    ("BlockDevices", "nodes/{system_id}/blockdevices/", "create read"),
    ("BlockDevice", "nodes/{system_id}/blockdevices/{id}/", "read update delete POST:format POST:mount"),
    ("BootSources", "boot-sources/", "create read"),
    ("BootSource", "boot-sources/{id}/", "read update delete"),
    ("CommissioningScripts", "commissioning-scripts/", "create read"),
    ("DHCPSnippets", "dhcp-snippets/", "create read"),
    ("DHCPSnippet", "dhcp-snippets/{id}/", "read update delete POST:revert"),
    ("Devices", "devices/", "create read"),
    ("Device", "devices/{system_id}/", "read update delete POST:set_owner_data"),
    ("Files", "files/", "create read GET:get"),
    ("File", "files/{filename}/", "read delete"),
    ("FanNetworks", "fannetworks/", "create read"),
    ("IPAddresses", "ipaddresses/", "read POST:reserve POST:release"),
    ("LicenseKeys", "license-keys/", "create read"),
    ("Networks", "networks/", "create read"),
    ("NodeDevices", "nodes/{system_id}/devices/", "read"),
    ("Nodes", "nodes/", "read GET:is_registered POST:set_zone"),
    ("Node", "nodes/{system_id}/", "read update delete GET:power_parameters"),
    ("Notifications", "notifications/", "create read"),
    ("Notification", "notifications/{id}/", "read update delete POST:dismiss"),
    ("PackageRepositories", "package-repositories/", "create read"),
    ("PackageRepository", "package-repositories/{id}/", "read update delete"),
    ("Partitions", "nodes/{system_id}/blockdevices/{device_id}/partitions/", "create read"),
    ("Partition", "nodes/{system_id}/blockdevices/{device_id}/partition/{id}", "read delete POST:format"),
    ("Pods", "pods/", "create read"),
    ("Raids", "nodes/{system_id}/raids/", "create read"),
    ("RegionControllers", "regioncontrollers/", "read"),
    ("RegionController", "regioncontrollers/{system_id}/", "read update delete"),
    ("ReservedIps", "reservedips/", "create read"),
    ("Spaces", "spaces/", "create read"),
    ("Space", "spaces/{id}/", "read update delete"),
    ("StaticRoutes", "static-routes/", "create read"),
    ("StaticRoute", "static-routes/{id}/", "read update delete"),
    ("SSLKeys", "account/prefs/sslkeys/", "create read"),
    ("VmHosts", "vm-hosts/", "create read"),
    ("VmHost", "vm-hosts/{id}/", "read update delete POST:compose POST:refresh"),
    ("VolumeGroups", "nodes/{system_id}/volume-groups/", "create read"),
)
