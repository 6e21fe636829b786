"""Prints an image's bill of materials as CycloneDX 1.6 JSON: a Python environment, and Debian's packages around it.

    python sbom.py edge/worker-deps /opt/edge/bin/python > sbom.cdx.json

It is run in the image with cyclonedx-bom at hand. The same contents give the same bytes: there is no time in it and no
random serial number.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

FIELDS = r"${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n"


def python_environment(interpreter: str) -> dict[str, Any]:
    """What is installed for this interpreter, by CycloneDX's own tool."""
    argv = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--no-validate", "--sv=1.6"]
    bill: dict[str, Any] = json.loads(subprocess.check_output([*argv, interpreter]))  # noqa: S603
    return bill


def debian_packages(listing: str) -> list[dict[str, Any]]:
    """The installed ones of a listing by dpkg-query in the format FIELDS."""
    components = []
    for line in listing.splitlines():
        status, name, version, architecture, source = line.split("\t")
        if status != "installed":
            continue
        url = PackageURL("deb", "debian", name, version, {"arch": architecture, "source": source}).to_string()
        components.append({"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url})
    return components


def main() -> None:
    image, interpreter = sys.argv[1:]
    bill = python_environment(interpreter)
    listing = subprocess.check_output(["/usr/bin/dpkg-query", "--show", f"--showformat={FIELDS}"], text=True)  # noqa: S603
    bill["components"] += debian_packages(listing)
    bill["metadata"]["component"] = {"type": "container", "bom-ref": image, "name": image}
    text = json.dumps(bill, indent=1, sort_keys=True)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"sbom.py: not a valid CycloneDX 1.6 document: {error}")
    print(text)


if __name__ == "__main__":
    main()
