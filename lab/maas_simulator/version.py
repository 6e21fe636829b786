"""`version/`: public, as `describe/`."""

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.region import Call

_CAPABILITIES = [
    "networks-management",
    "static-ipaddresses",
    "ipv6-deployment-ubuntu",
    "devices-management",
    "storage-deployment-ubuntu",
    "network-deployment-ubuntu",
    "bridging-interface-ubuntu",
    "bridging-automatic-ubuntu",
    "authenticate-api",
]


def read_version(call: Call) -> Answer:
    """Version.read"""
    version = call.region.settings.version
    return Answer.json({"capabilities": _CAPABILITIES, "version": version, "subversion": ""})
