"""Domains, DNS resources (a name with addresses) and DNS resource records (a name with other data).

Checks follow MAAS's published source (maasserver/forms/dnsresource.py, models/dnsresource.py and dnsdata.py). There is
one domain, MAAS's own, and no name server behind it.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from lab.maas_simulator.account import user_dict
from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import bad_request, form_errors, missing, not_simulated
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.networks import subnet_dict, subnet_of
from lab.maas_simulator.region import API, Call, Region

_DOMAIN = "maas"
_LABEL = r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,62}[a-zA-Z0-9])?"
_SERVICE = rf"_[a-zA-Z0-9]+\._(tcp|udp)(\.{_LABEL})?"
_NAME = re.compile(rf"@|\*|{_LABEL}")
_CNAME_LABEL = r"[_a-zA-Z0-9]([-_a-zA-Z0-9]{0,62}[_a-zA-Z0-9])?"
_CNAME = re.compile(rf"({_CNAME_LABEL}\.)*{_CNAME_LABEL}\.?")
_HOST = re.compile(rf"({_LABEL}\.)*{_LABEL}\.?")
_TYPES = ("CNAME", "MX", "NS", "SRV", "SSHFP", "TXT")
_NO_CHOICE = "Select a valid choice. That choice is not one of the available choices."


def domain_dict(region: Region) -> dict[str, Any]:
    """MAAS's own domain; machines' names are not counted."""
    count = region.store.row("SELECT (SELECT count(*) FROM dnsaddress) + (SELECT count(*) FROM dnsdata) AS count")
    return {
        "authoritative": True,
        "ttl": None,
        "resource_record_count": count["count"] if count else 0,
        "id": 0,
        "is_default": True,
        "name": _DOMAIN,
        "resource_uri": f"{API}domains/0/",
    }


def list_domains(call: Call) -> Answer:
    """Domains.read"""
    return Answer.json([domain_dict(call.region)])


def read_domain(call: Call) -> Answer:
    """Domain.read"""
    if call.params["id"] not in ("0", _DOMAIN, f"name:{_DOMAIN}"):
        raise missing("Domain")
    return Answer.json(domain_dict(call.region))


# -- Names --------------------------------------------------------------------------------------


def _split(data: Fields, rrtype: str) -> tuple[str | None, bool]:
    """(name, whether the domain is given); 404 for a domain that is not there."""
    name, domain = data.get("name") or None, data.get("domain") or None
    if name is None and domain is None and data.get("fqdn"):
        fqdn = data.get("fqdn").rstrip(".")
        if fqdn == _DOMAIN:
            name, domain = "@", fqdn
        else:
            service = re.match(rf"({_SERVICE})\.(.+)", fqdn) if rrtype == "SRV" else None
            name, _, domain = (service[1], "", service[service.re.groups]) if service else fqdn.partition(".")
    if domain is not None and domain not in ("0", _DOMAIN):
        raise missing("Domain")
    return name, domain is not None


def _fqdn(name: str) -> str:
    return _DOMAIN if name == "@" else f"{name}.{_DOMAIN}"


def _check_name(name: str, rrtype: str) -> None:
    pattern = re.compile(_SERVICE) if rrtype == "SRV" else _NAME
    if not pattern.fullmatch(name):
        text = "Invalid SRV" if rrtype == "SRV" else "Invalid dnsresource"
        raise form_errors({"name": [f"{text} name: {name}."]})


# -- dnsresources/ ------------------------------------------------------------------------------


def _show(region: Region, row: Any) -> dict[str, Any]:
    addresses = region.store.rows("SELECT * FROM dnsaddress WHERE dnsresource_id = ? ORDER BY created, ip", row["id"])
    records = region.store.rows("SELECT * FROM dnsdata WHERE dnsresource_id = ? ORDER BY rrtype, id", row["id"])
    return {
        "address_ttl": row["address_ttl"],
        "fqdn": _fqdn(row["name"]),
        "id": row["id"],
        "ip_addresses": [_show_address(region, address) for address in addresses],
        "resource_records": [_show_record(region, record) for record in records],
        "resource_uri": f"{API}dnsresources/{row['id']}/",
    }


def _show_address(region: Region, row: Any) -> dict[str, Any]:
    created = datetime.fromtimestamp(row["created"], UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    subnet = subnet_of(region, row["ip"])
    return {
        "created": created + ("Z" if region.release >= (3, 6) else ""),
        "ip": row["ip"],
        "alloc_type": 4,
        "alloc_type_name": "User reserved",
        "subnet": subnet_dict(region, subnet) if subnet else None,
        "interface_set": [],
        "owner": user_dict(region.settings.username),
        "resource_uri": f"{API}ipaddresses/",
    }


def _resource(call: Call) -> Any:
    row = call.store.row("SELECT * FROM dnsresource WHERE CAST(id AS TEXT) = ?", call.params["id"])
    if row is None:
        raise missing("DNSResource")
    return row


def list_resources(call: Call) -> Answer:
    """DNSResources.read"""
    if call.query.flag("all"):
        raise not_simulated("DNSResources.read all=true")
    rrtype = call.query.get("rrtype").upper()
    name, _ = _split(call.query, rrtype)
    rows = call.store.rows("SELECT * FROM dnsresource WHERE ? IS NULL OR name = ? ORDER BY name", name, name)
    shown = [_show(call.region, row) for row in rows]
    if rrtype:
        shown = [one for one in shown if rrtype in [record["rrtype"] for record in one["resource_records"]]]
    return Answer.json(shown)


def read_resource(call: Call) -> Answer:
    """DNSResource.read"""
    return Answer.json(_show(call.region, _resource(call)))


def create_resource(call: Call) -> Answer:
    """DNSResources.create"""
    return Answer.json(_show(call.region, _create(call, "A")))


def _create(call: Call, rrtype: str) -> Any:
    name, with_domain = _split(call.data, rrtype)
    absent = [field for field, there in (("name", name), ("domain", with_domain)) if not there]
    if absent or name is None:
        raise form_errors({field: ["This field is required."] for field in absent})
    _check_name(name, rrtype)
    if call.store.row("SELECT 1 FROM dnsresource WHERE name = ?", name):
        raise form_errors({"__all__": ["Labels must be unique within their zone."]})
    ttl, addresses = _read_ttl(call.data, "address_ttl"), _read_addresses(call.data)
    cursor = call.store.db.execute("INSERT INTO dnsresource (name, address_ttl) VALUES (?, ?)", (name, ttl))
    row = call.store.row("SELECT * FROM dnsresource WHERE id = ?", cursor.lastrowid)
    _set_addresses(call, row, addresses or [])
    return row


def update_resource(call: Call) -> Answer:
    """DNSResource.update: a TTL that is not given is taken away, addresses that are not given stay."""
    row = _resource(call)
    if call.data.get("name") not in ("", row["name"]) or call.data.get("domain") not in ("", "0", _DOMAIN):
        raise not_simulated("DNSResource.update of its name")
    ttl, addresses = _read_ttl(call.data, "address_ttl"), _read_addresses(call.data)
    call.store.db.execute("UPDATE dnsresource SET address_ttl = ? WHERE id = ?", (ttl, row["id"]))
    if addresses is not None:
        _set_addresses(call, row, addresses)
    return Answer.json(_show(call.region, _resource(call)))


def delete_resource(call: Call) -> Answer:
    """DNSResource.delete, with all that is under the name."""
    call.store.db.execute("DELETE FROM dnsresource WHERE id = ?", (_resource(call)["id"],))
    return DELETED


def _read_ttl(data: Fields, field: str) -> int | None:
    text = data.get(field).strip()
    if not text:
        return None
    if not re.fullmatch(r"-?\d+", text):
        raise form_errors({field: ["Enter a whole number."]})
    if int(text) < 0:
        raise form_errors({field: ["Ensure this value is greater than or equal to 0."]})
    return int(text)


def _read_addresses(data: Fields) -> list[str] | None:
    if "ip_addresses" not in data:
        return None
    found = data.get("ip_addresses").split()
    for text in found:
        try:
            ip_address(text)
        except ValueError:
            # Not recorded; the text is that of Django's field for addresses.
            raise form_errors({"ip_addresses": ["Enter a valid IPv4 or IPv6 address."]}) from None
    return found


def _set_addresses(call: Call, row: Any, addresses: list[str]) -> None:
    if addresses and call.store.row("SELECT 1 FROM dnsdata WHERE dnsresource_id = ? AND rrtype = 'CNAME'", row["id"]):
        raise form_errors({"__all__": ["Cannot add address: CNAME present."]})
    there = {old["ip"] for old in call.store.rows("SELECT ip FROM dnsaddress WHERE dnsresource_id = ?", row["id"])}
    for ip in there - set(addresses):
        call.store.db.execute("DELETE FROM dnsaddress WHERE dnsresource_id = ? AND ip = ?", (row["id"], ip))
    for ip in dict.fromkeys(addresses):
        if ip not in there:
            call.store.db.execute("INSERT INTO dnsaddress VALUES (?, ?, ?)", (row["id"], ip, time.time()))


# -- dnsresourcerecords/ ------------------------------------------------------------------------


def _show_record(region: Region, row: Any) -> dict[str, Any]:
    resource = region.store.row("SELECT name FROM dnsresource WHERE id = ?", row["dnsresource_id"])
    assert resource is not None
    return {
        "id": row["id"],
        "fqdn": _fqdn(resource["name"]),
        "ttl": row["ttl"],
        "rrtype": row["rrtype"],
        "rrdata": row["rrdata"],
        "resource_uri": f"{API}dnsresourcerecords/{row['id']}/",
    }


def _record(call: Call) -> Any:
    row = call.store.row("SELECT * FROM dnsdata WHERE CAST(id AS TEXT) = ?", call.params["id"])
    if row is None:
        raise missing("DNSData")
    return row


def list_records(call: Call) -> Answer:
    """DNSResourceRecords.read"""
    rrtype = call.query.get("rrtype")
    name, _ = _split(call.query, rrtype.upper())
    rows = call.store.rows(
        "SELECT dnsdata.* FROM dnsdata JOIN dnsresource ON dnsresource.id = dnsresource_id"
        " WHERE (? IS NULL OR name = ?) AND ? IN ('', rrtype) ORDER BY name, dnsdata.id",
        name,
        name,
        rrtype,
    )
    return Answer.json([_show_record(call.region, row) for row in rows])


def read_record(call: Call) -> Answer:
    """DNSResourceRecord.read"""
    return Answer.json(_show_record(call.region, _record(call)))


def create_record(call: Call) -> Answer:
    """DNSResourceRecords.create: makes the name where it is not there."""
    for field in ("rrtype", "rrdata"):
        if field not in call.data:
            raise bad_request(f"{field} must be provided.")
    rrtype = call.data.get("rrtype").upper()
    name, with_domain = _split(call.data, rrtype)
    if name is None or not with_domain:
        raise form_errors({"__all__": ["Either name and domain (or fqdn) must be specified"]})
    _check_data(rrtype, call.data.get("rrdata"))
    row = call.store.row("SELECT * FROM dnsresource WHERE name = ?", name) or _create(call, rrtype)
    _check_neighbours(call, row["id"], rrtype)
    ttl = _read_ttl(call.data, "ttl")
    cursor = call.store.db.execute(
        "INSERT INTO dnsdata (dnsresource_id, ttl, rrtype, rrdata) VALUES (?, ?, ?, ?)",
        (row["id"], ttl, rrtype, call.data.get("rrdata")),
    )
    made = call.store.row("SELECT * FROM dnsdata WHERE id = ?", cursor.lastrowid)
    return Answer.json(_show_record(call.region, made))


def update_record(call: Call) -> Answer:
    """DNSResourceRecord.update"""
    row = _record(call)
    rrtype = (call.data.get("rrtype") or row["rrtype"]).upper()
    rrdata = call.data.get("rrdata") or row["rrdata"]
    _check_data(rrtype, rrdata)
    ttl = _read_ttl(call.data, "ttl") if "ttl" in call.data else row["ttl"]
    call.store.db.execute(
        "UPDATE dnsdata SET rrtype = ?, rrdata = ?, ttl = ? WHERE id = ?", (rrtype, rrdata, ttl, row["id"])
    )
    return Answer.json(_show_record(call.region, _record(call)))


def delete_record(call: Call) -> Answer:
    """DNSResourceRecord.delete: with its last record and no address the name goes too."""
    row = _record(call)
    call.store.db.execute("DELETE FROM dnsdata WHERE id = ?", (row["id"],))
    call.store.db.execute(
        "DELETE FROM dnsresource WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM dnsdata WHERE dnsresource_id = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM dnsaddress WHERE dnsresource_id = ?1)",
        (row["dnsresource_id"],),
    )
    return DELETED


def _check_data(rrtype: str, rrdata: str) -> None:
    if rrtype not in _TYPES:
        raise form_errors({"rrtype": [f"{rrtype} is not one of {' '.join(_TYPES)}."]})
    if not rrdata:
        raise form_errors({"rrdata": ["This field is required."]})
    problem = None
    if rrtype == "CNAME" and not _CNAME.fullmatch(rrdata):
        problem = "Invalid CNAME: Should be '<server>'."
    elif rrtype == "MX":
        match = re.fullmatch(r"(\d+)\s+(.+)", rrdata)
        if match is None or int(match[1]) > 65535:
            problem = "Invalid MX: Should be '<preference> <server>'. Range for preference is 0-65535."
        elif not _HOST.fullmatch(match[2]):
            problem = f"Invalid domain name: {match[2]}."
    elif rrtype == "SRV":
        match = re.fullmatch(r"(\d+)\s+(\d+)\s+(\d+)\s+(.*)", rrdata)
        if match is None or any(int(match[number]) > 65535 for number in (1, 2, 3)):
            problem = (
                "Invalid SRV: Should be '<priority> <weight> <port> <server>'."
                " Range for priority, weight, and port are 0-65536."
            )
        elif match[4] != "." and not _HOST.fullmatch(match[4]):
            problem = f"Invalid domain name: {match[4]}."
    elif rrtype == "NS" and not _HOST.fullmatch(rrdata):
        problem = f"Invalid domain name: {rrdata}."
    elif rrtype == "SSHFP" and not re.match(r"\d+\s+\d+\s+.", rrdata):
        problem = "Invalid SSHFP: Should be '<algorithm> <fptype> <fingerprint>'."
    if problem:
        raise form_errors({"__all__": [problem]})


def _check_neighbours(call: Call, resource_id: int, rrtype: str) -> None:
    types = [
        row["rrtype"] for row in call.store.rows("SELECT rrtype FROM dnsdata WHERE dnsresource_id = ?", resource_id)
    ]
    addresses = call.store.row("SELECT 1 FROM dnsaddress WHERE dnsresource_id = ?", resource_id)
    if rrtype == "CNAME" and (addresses or any(other != "CNAME" for other in types)):
        raise form_errors({"__all__": ["CNAME records for a name cannot coexist with non-CNAME records."]})
    if rrtype == "CNAME" and types:
        raise form_errors({"__all__": ["Only one CNAME can be associated with a name."]})
    if rrtype != "CNAME" and "CNAME" in types:
        raise form_errors({"__all__": ["CNAME records for a name cannot coexist with non-CNAME records."]})
