"""Start the simulator: `python -m lab.maas_simulator --help`."""

from __future__ import annotations

import argparse
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import uvicorn

from lab.maas_simulator.app import create_app
from lab.maas_simulator.settings import VERSIONS, ApiKey, Settings, SettingsError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab.maas_simulator", description="A MAAS region for the lab.")
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5240)
    parser.add_argument("--data", type=Path, required=True, help="folder of the store and the images")
    parser.add_argument("--version", choices=VERSIONS, default="3.6.5", help="the MAAS it answers as")
    parser.add_argument("--api-key-file", type=Path, required=True, help="the admin's consumer:token:secret")
    parser.add_argument("--subnet", type=IPv4Network, default=Settings.subnet)
    parser.add_argument("--gateway", type=IPv4Address, default=Settings.gateway)
    parser.add_argument("--dynamic-range", default=f"{Settings.range_start}-{Settings.range_end}")
    parser.add_argument("--external-url", default=Settings.external_url, help="how machines reach /MAAS")
    parser.add_argument("--node-timeout-seconds", type=float, default=Settings.node_timeout_seconds)
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    try:
        key = ApiKey.parse(arguments.api_key_file.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read {arguments.api_key_file}: {error.strerror}") from error
    except SettingsError as error:
        raise SettingsError(f"{arguments.api_key_file}: {error}") from error
    start, _, end = arguments.dynamic_range.partition("-")
    try:
        bounds = IPv4Address(start), IPv4Address(end)
    except ValueError as error:
        raise SettingsError(f"--dynamic-range is FIRST-LAST: {error}") from error
    return Settings(
        data=arguments.data,
        api_key=key,
        version=arguments.version,
        subnet=arguments.subnet,
        gateway=arguments.gateway,
        range_start=bounds[0],
        range_end=bounds[1],
        external_url=arguments.external_url.rstrip("/"),
        node_timeout_seconds=arguments.node_timeout_seconds,
    )


def main() -> int:
    """Serve until told to stop. Exit status 2: the settings cannot be used."""
    arguments = _parser().parse_args()
    try:
        settings = _settings(arguments)
    except SettingsError as error:
        print(f"maas_simulator: {error}", file=sys.stderr)
        return 2
    uvicorn.run(create_app(settings), host=arguments.listen, port=arguments.port, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
