"""Power drivers: how the region switches a machine.

`webhook` calls what really switches it, request for request as MAAS's driver does
(provisioningserver/drivers/power/webhook.py): POST to switch, GET to ask, the answer matched with two regular
expressions. `manual` switches nothing. The other types are known, but no BMC of theirs is spoken to here.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import httpx

from lab.maas_simulator.model import Machine
from lab.maas_simulator.settings import Settings

WEBHOOK_DEFAULTS = {
    "power_on_uri": "",
    "power_off_uri": "",
    "power_query_uri": "",
    "power_on_regex": r"status.*\:.*running",
    "power_off_regex": r"status.*\:.*stopped",
    "power_user": "",
    "power_pass": "",
    "power_token": "",
    "power_verify_ssl": "n",
}
WEBHOOK_REQUIRED = {
    "power_on_uri": "URI to power on the node",
    "power_off_uri": "URI to power off the node",
    "power_query_uri": "URI to query the nodes power status",
}
# Known to MAAS, accepted with their parameters, of no effect here.
UNSIMULATED_TYPES = [
    "amt",
    "apc",
    "dli",
    "eaton",
    "fence_cdu",
    "hmc",
    "hmcz",
    "ipmi",
    "lxd",
    "moonshot",
    "mscm",
    "msftocs",
    "nova",
    "openbmc",
    "proxmox",
    "raritan",
    "recs_box",
    "redfish",
    "sm15k",
    "ucsm",
    "virsh",
    "vmware",
    "wedge",
]
POWER_TYPES = ("manual", "webhook", *UNSIMULATED_TYPES)
_TIMEOUT_SECONDS = 10.0


class PowerError(Exception):
    """The BMC did not do it; the text is what the event says."""


@dataclass(frozen=True)
class Power:
    """Switches one machine."""

    machine: Machine
    settings: Settings

    @property
    def by_hand(self) -> bool:
        """No BMC: somebody has to press the button."""
        return self.machine.power_type in ("", "manual")

    async def query(self) -> str:
        """on, off or unknown."""
        if self.by_hand:
            return "unknown"
        self._require_webhook()
        parameters = self.machine.power_parameters
        answer = await self._request("GET", parameters["power_query_uri"])
        try:
            for state in ("on", "off"):
                if re.search(parameters[f"power_{state}_regex"], answer):
                    return state
        except re.error as error:
            raise PowerError(f"Failed talking to node's BMC: {error}") from error
        return "unknown"

    async def switch(self, target: str) -> str:
        """Switch to on or off and wait until the BMC says so."""
        if self.by_hand:
            return "unknown"
        self._require_webhook()
        uri = self.machine.power_parameters[f"power_{target}_uri"]
        problem: PowerError | None = None
        state = "unknown"
        told = False
        for pause in self.settings.power_waits:
            try:
                if not told:
                    await self._request("POST", uri)
                    told = True
                await asyncio.sleep(pause)
                state = await self.query()
                if state == target:
                    return target
                problem = None
            except PowerError as error:
                problem = error
                await asyncio.sleep(pause)
        raise problem or PowerError(
            f"Failed to power {self.machine.system_id}. BMC never transitioned from {state} to {target}."
        )

    async def cycle(self) -> str:
        """Off if it is on, then on: the machine boots afresh."""
        if self.by_hand:
            return "unknown"
        if await self.query() == "on":
            await self.switch("off")
        return await self.switch("on")

    def _require_webhook(self) -> None:
        if self.machine.power_type != "webhook":
            raise PowerError(f"not simulated: power type {self.machine.power_type}")

    async def _request(self, method: str, uri: str) -> str:
        parameters = self.machine.power_parameters
        headers = {
            "User-Agent": f"MAAS {self.settings.version}",
            "Accept": "application/json",
            "System_Id": self.machine.system_id,
        }
        credentials = None
        if parameters["power_token"]:
            headers["Authorization"] = f"Bearer {parameters['power_token']}"
        elif parameters["power_user"] and parameters["power_pass"]:
            credentials = httpx.BasicAuth(parameters["power_user"], parameters["power_pass"])
        try:
            async with httpx.AsyncClient(
                timeout=_TIMEOUT_SECONDS,
                follow_redirects=True,
                trust_env=False,
                # MAAS does not verify a BMC's certificate unless told to.
                verify=uri.startswith("https:") and parameters["power_verify_ssl"] == "y",
            ) as client:
                answer = await client.request(method, uri, headers=headers, auth=credentials)
                if answer.status_code == 404 and not uri.endswith("/"):
                    answer = await client.request(method, uri + "/", headers=headers, auth=credentials)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PowerError(f"Failed talking to node's BMC: {error or type(error).__name__}") from error
        if answer.status_code >= 400:
            raise PowerError(
                f"Failed to complete power action: Request failed with response status code: {answer.status_code}."
            )
        return answer.text
