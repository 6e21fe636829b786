"""The store: SQLite with a write-ahead log, synced to disk before any write is acknowledged."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.maas_simulator.errors import missing
from lab.maas_simulator.model import Machine

_SCHEMA = """
CREATE TABLE IF NOT EXISTS machine (system_id TEXT PRIMARY KEY, hostname TEXT UNIQUE NOT NULL,
    expires REAL, token TEXT UNIQUE, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mac (mac TEXT PRIMARY KEY,
    system_id TEXT NOT NULL REFERENCES machine ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS address (ip TEXT PRIMARY KEY,
    system_id TEXT NOT NULL REFERENCES machine ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, due REAL NOT NULL,
    system_id TEXT NOT NULL REFERENCES machine ON DELETE CASCADE, detail TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY AUTOINCREMENT, hostname TEXT NOT NULL,
    system_id TEXT NOT NULL REFERENCES machine ON DELETE CASCADE,
    level INTEGER NOT NULL, type TEXT NOT NULL, description TEXT NOT NULL, action TEXT NOT NULL,
    username TEXT NOT NULL, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS event_of_machine ON event (system_id, level, id);
CREATE TABLE IF NOT EXISTS tag (name TEXT PRIMARY KEY, comment TEXT NOT NULL, kernel_opts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pool (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS zone (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sshkey (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS config (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sequence (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS resource (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    architecture TEXT NOT NULL, title TEXT NOT NULL, base_image TEXT NOT NULL, last_deployed REAL,
    UNIQUE (name, architecture));
CREATE TABLE IF NOT EXISTS resource_file (id INTEGER PRIMARY KEY AUTOINCREMENT,
    resource_id INTEGER NOT NULL REFERENCES resource ON DELETE CASCADE, version TEXT NOT NULL,
    filename TEXT NOT NULL, filetype TEXT NOT NULL, sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blob (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS rack (system_id TEXT PRIMARY KEY, hostname TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fabric (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, description TEXT NOT NULL,
    class_type TEXT);
CREATE TABLE IF NOT EXISTS vlan (id INTEGER PRIMARY KEY AUTOINCREMENT,
    fabric_id INTEGER NOT NULL REFERENCES fabric ON DELETE CASCADE, vid INTEGER NOT NULL, name TEXT,
    description TEXT NOT NULL DEFAULT '', mtu INTEGER NOT NULL DEFAULT 1500, dhcp_on INTEGER NOT NULL DEFAULT 0,
    primary_rack TEXT, secondary_rack TEXT, UNIQUE (fabric_id, vid));
CREATE TABLE IF NOT EXISTS subnet (id INTEGER PRIMARY KEY AUTOINCREMENT, vlan_id INTEGER NOT NULL REFERENCES vlan,
    cidr TEXT UNIQUE NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL DEFAULT '', gateway_ip TEXT,
    dns_servers TEXT NOT NULL DEFAULT '[]', rdns_mode INTEGER NOT NULL DEFAULT 2,
    allow_dns INTEGER NOT NULL DEFAULT 1, allow_proxy INTEGER NOT NULL DEFAULT 1,
    active_discovery INTEGER NOT NULL DEFAULT 0, managed INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS iprange (id INTEGER PRIMARY KEY AUTOINCREMENT,
    subnet_id INTEGER NOT NULL REFERENCES subnet ON DELETE CASCADE, type TEXT NOT NULL, start_ip TEXT NOT NULL,
    end_ip TEXT NOT NULL, comment TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dnsresource (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL,
    address_ttl INTEGER);
CREATE TABLE IF NOT EXISTS dnsaddress (dnsresource_id INTEGER NOT NULL REFERENCES dnsresource ON DELETE CASCADE,
    ip TEXT NOT NULL, created REAL NOT NULL, PRIMARY KEY (dnsresource_id, ip));
CREATE TABLE IF NOT EXISTS dnsdata (id INTEGER PRIMARY KEY AUTOINCREMENT,
    dnsresource_id INTEGER NOT NULL REFERENCES dnsresource ON DELETE CASCADE, ttl INTEGER, rrtype TEXT NOT NULL,
    rrdata TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS script (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, title TEXT NOT NULL,
    description TEXT NOT NULL, tags TEXT NOT NULL, type INTEGER NOT NULL, hardware_type INTEGER NOT NULL,
    timeout INTEGER NOT NULL, results TEXT NOT NULL, destructive INTEGER NOT NULL, may_reboot INTEGER NOT NULL,
    recommission INTEGER NOT NULL, apply_configured_networking INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS script_version (id INTEGER PRIMARY KEY,
    script_id INTEGER NOT NULL REFERENCES script ON DELETE CASCADE, data TEXT NOT NULL, comment TEXT,
    created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS script_set (id INTEGER PRIMARY KEY,
    system_id TEXT NOT NULL REFERENCES machine ON DELETE CASCADE, type INTEGER NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS script_run (id INTEGER PRIMARY KEY AUTOINCREMENT,
    set_id INTEGER NOT NULL REFERENCES script_set ON DELETE CASCADE, name TEXT NOT NULL,
    script_id INTEGER REFERENCES script ON DELETE SET NULL,
    version_id INTEGER REFERENCES script_version ON DELETE SET NULL, status INTEGER NOT NULL, exit_status INTEGER,
    output TEXT NOT NULL DEFAULT '', stdout TEXT NOT NULL DEFAULT '', stderr TEXT NOT NULL DEFAULT '',
    started REAL, ended REAL, created REAL NOT NULL, updated REAL NOT NULL);
CREATE TABLE IF NOT EXISTS neighbour (mac TEXT PRIMARY KEY, ip TEXT UNIQUE NOT NULL, last_seen REAL NOT NULL);
INSERT OR IGNORE INTO pool VALUES (0, 'default', 'Default pool');
INSERT OR IGNORE INTO zone VALUES (1, 'default', '');
"""
# Letters and digits that cannot be taken for one another, as MAAS's own system ids.
_ID_ALPHABET = "346789abcdefghkmnpqrstwxy"


class Store:
    """Everything the region must still know after it was killed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(folder / "region.sqlite3", isolation_level=None, check_same_thread=False)
        self.db.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; when the block ends without an error the data is on the disk.

        Handlers run one at a time on one event loop and never wait inside a transaction.
        """
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        row: sqlite3.Row | None = self.db.execute(sql, values).fetchone()
        return row

    def next_id(self, name: str) -> int:
        """The next number of a named sequence (interfaces, links, disks, script results)."""
        row = self.row(
            "INSERT INTO sequence VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            name,
        )
        assert row is not None
        return int(row["value"])

    def machines(self) -> list[Machine]:
        """All machines in the order they came."""
        rows = self.rows("SELECT document FROM machine ORDER BY rowid")
        return [Machine.from_document(json.loads(row["document"])) for row in rows]

    def machine(self, system_id: str) -> Machine:
        """One machine, or MAAS's 404."""
        machine = self.find_machine("system_id", system_id)
        if machine is None:
            raise missing("Machine")
        return machine

    def find_machine(self, column: str, value: str) -> Machine | None:
        """The machine whose system_id, hostname or token this is."""
        assert column in ("system_id", "hostname", "token")
        row = self.row(f"SELECT document FROM machine WHERE {column} = ?", value)  # noqa: S608 - asserted above
        return Machine.from_document(json.loads(row["document"])) if row else None

    def machine_by_mac(self, mac: str) -> Machine | None:
        """The machine that has this MAC."""
        row = self.row("SELECT system_id FROM mac WHERE mac = ?", mac)
        return self.machine(row["system_id"]) if row else None

    def new_system_id(self) -> str:
        """A free six-character id."""
        while True:
            candidate = "".join(secrets.choice(_ID_ALPHABET) for _ in range(6))
            if self.row("SELECT 1 FROM machine WHERE system_id = ?", candidate) is None:
                return candidate

    def save(self, machine: Machine) -> None:
        """Write a machine, its MACs and its addresses."""
        self.db.execute(
            "INSERT INTO machine VALUES (:system_id, :hostname, :expires, :token, :document)"
            " ON CONFLICT (system_id) DO UPDATE SET hostname = :hostname, expires = :expires,"
            " token = :token, document = :document",
            {
                "system_id": machine.system_id,
                "hostname": machine.hostname,
                "expires": machine.status_expires,
                "token": machine.token.key if machine.token else None,
                "document": json.dumps(machine.document()),
            },
        )
        for table in ("mac", "address"):
            self.db.execute(f"DELETE FROM {table} WHERE system_id = ?", (machine.system_id,))  # noqa: S608
        macs = [(nic.mac, machine.system_id) for nic in machine.interfaces]
        self.db.executemany("INSERT INTO mac VALUES (?, ?)", macs)
        addresses = {link.ip for nic in machine.interfaces for link in nic.links if link.ip}
        self.db.executemany("INSERT INTO address VALUES (?, ?)", [(ip, machine.system_id) for ip in addresses])

    def delete(self, machine: Machine) -> None:
        """Forget a machine with its MACs, addresses, tasks and events."""
        self.db.execute("DELETE FROM machine WHERE system_id = ?", (machine.system_id,))

    def add_task(self, machine: Machine, kind: str, due: float, detail: str = "") -> None:
        """Something to do later; still to do after a restart."""
        self.db.execute(
            "INSERT INTO task (kind, due, system_id, detail) VALUES (?, ?, ?, ?)",
            (kind, due, machine.system_id, detail),
        )

    def drop_tasks(self, machine: Machine, *kinds: str) -> None:
        """What was planned for the machine no longer holds."""
        for kind in kinds:
            self.db.execute("DELETE FROM task WHERE system_id = ? AND kind = ?", (machine.system_id, kind))
