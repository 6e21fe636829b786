"""What can be deployed: the synced Ubuntu releases of the region and the complete uploaded images."""

from __future__ import annotations

from dataclasses import dataclass

from lab.maas_simulator.errors import form_errors
from lab.maas_simulator.region import Region

_KERNELS = {"focal": "ga-20.04", "jammy": "ga-22.04", "noble": "ga-24.04"}


@dataclass(frozen=True)
class DeployChoice:
    """One operating system a machine can get."""

    osystem: str
    series: str
    kernel: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """`osystem/series`"""
        return f"{self.osystem}/{self.series}"


def synced_series(region: Region) -> list[str]:
    """The Ubuntu releases of the recorded regions."""
    return ["jammy", "noble"] if region.release >= (3, 6) else ["focal", "jammy"]


def default_series(region: Region) -> str:
    """What is deployed where nothing else is asked for."""
    return "noble" if region.release >= (3, 6) else "jammy"


def kernel_of(series: str) -> str:
    """The general availability kernel of an Ubuntu release."""
    return _KERNELS[series]


def choices(region: Region) -> list[DeployChoice]:
    """Everything a deployment may name."""
    found = [DeployChoice("ubuntu", series, _KERNELS[series]) for series in synced_series(region)]
    # Of each resource the newest complete file counts.
    rows = region.store.rows(
        "SELECT name, base_image, sha256, max(resource_file.id) FROM resource"
        " JOIN resource_file ON resource_id = resource.id JOIN blob USING (sha256)"
        " WHERE complete GROUP BY resource.id"
    )
    for row in rows:
        kernel = _KERNELS.get(row["base_image"].partition("/")[2], "ga-22.04")
        found.append(DeployChoice("custom", row["name"], kernel, row["sha256"]))
    return sorted(found, key=lambda choice: choice.name)


def choose(region: Region, wanted: str, kernel: str) -> DeployChoice:
    """The choice of a `distro_series` ('' is the default), or the recorded 400 that lists them."""
    available = choices(region)
    if not wanted:
        wanted = f"ubuntu/{default_series(region)}"
    for choice in available:
        if wanted in (choice.name, choice.series):
            if kernel not in ("", choice.kernel):
                raise form_errors({"hwe_kernel": [_invalid(kernel, "hwe_kernel", ["", choice.kernel])]})
            return choice
    names = ["", *(choice.name for choice in available)]
    raise form_errors({"distro_series": [_invalid(wanted, "distro_series", names)]})


def _invalid(value: str, field: str, names: list[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"'{value}' is not a valid {field}.  It should be one of: {listed}."
