"""What a dashboard is told by its environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`project` is the folder that playbooks run in, with the site's ansible.cfg; `inventory` as Ansible takes it."""

    project: Path
    inventory: tuple[str, ...]
    report: Path
    config_dir: Path = Path("/etc/edge-dashboard")
    state_dir: Path = Path("/var/lib/edge-dashboard")
    address: str = "0.0.0.0"  # noqa: S104  # the rack's own network; the VM has no other
    port: int = 8443
    playbooks: str = "edge.rack.{}"
    status_seconds: float = 60
    session_seconds: float = 12 * 3600
    events_kept: int = 50_000
    reports_url: str = ""
    """Where ARA has the runs; empty where they are not reported."""

    @property
    def users_file(self) -> Path:
        return self.config_dir / "users.yml"

    @property
    def oidc_file(self) -> Path:
        """There is none where people sign in by the users file alone."""
        return self.config_dir / "oidc.yml"

    @property
    def audit_file(self) -> Path:
        return self.state_dir / "audit.jsonl"

    @property
    def release_report(self) -> Path:
        """Beside the status: what a release comes to."""
        return self.report.with_name("release.json")

    @property
    def token_file(self) -> Path:
        """What devices and trainings show to report."""
        return self.config_dir / "token"

    @property
    def certificate(self) -> Path:
        return self.config_dir / "tls.crt"

    @property
    def key(self) -> Path:
        return self.config_dir / "tls.key"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings from EDGE_DASHBOARD_* variables.

        Raises:
            SystemExit: a variable is missing or makes no sense; the message names it.
        """

        def text(name: str, default: str | None = None) -> str:
            value = environment.get(f"EDGE_DASHBOARD_{name}") or default
            if value is None:
                raise SystemExit(f"set EDGE_DASHBOARD_{name}")
            return value

        def number(name: str, default: float, least: float) -> float:
            given = text(name, str(default))
            try:
                value = float(given)
            except ValueError:
                value = math.nan
            if not least <= value < math.inf:
                raise SystemExit(f"EDGE_DASHBOARD_{name}={given!r} must be a number, {least:g} at least")
            return value

        project = Path(text("PROJECT"))
        if not project.is_dir():
            raise SystemExit(
                f"EDGE_DASHBOARD_PROJECT={str(project)!r} is no folder; name the one with the site's ansible.cfg"
            )
        playbooks = text("PLAYBOOKS", cls.playbooks)
        if playbooks.count("{}") != 1:
            raise SystemExit(f"EDGE_DASHBOARD_PLAYBOOKS={playbooks!r} must have one {{}}, where the verb comes")
        return cls(
            project=project,
            inventory=tuple(one for one in text("INVENTORY").split(",") if one),
            report=Path(text("REPORT")),
            config_dir=Path(text("CONFIG", str(cls.config_dir))),
            state_dir=Path(text("STATE", str(cls.state_dir))),
            address=text("ADDRESS", cls.address),
            port=int(number("PORT", cls.port, 1)),
            playbooks=playbooks,
            status_seconds=number("STATUS_SECONDS", cls.status_seconds, 1),
            session_seconds=number("SESSION_SECONDS", cls.session_seconds, 60),
            events_kept=int(number("EVENTS_KEPT", cls.events_kept, 100)),
            reports_url=text("REPORTS_URL", "").rstrip("/"),
        )
