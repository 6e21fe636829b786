"""What happens without a request: power switching, tests that end, machines that never report.

All of it is planned in the store, so a region that was killed goes on where it stopped: a power action that
was not finished is done again.
"""

from __future__ import annotations

import asyncio
import logging
import time

from lab.maas_simulator.events import EventType, change_status, record
from lab.maas_simulator.lifecycle import POWER_TASKS, mark_failed, out_of_rescue_mode, released, tested
from lab.maas_simulator.power import Power, PowerError
from lab.maas_simulator.region import Region
from lab.maas_simulator.statuses import MONITORED, Status

_LOG = logging.getLogger("maas_simulator")
_TICK_SECONDS = 0.25
_FAILED_EVENT = {"on": EventType.POWER_ON_FAILED, "off": EventType.POWER_OFF_FAILED}
_DONE_EVENT = {"on": EventType.POWERED_ON, "off": EventType.POWERED_OFF}


class Worker:
    """Runs due tasks; power tasks side by side, but one at a time for each machine."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self.region.wake.clear()
                self._run_due()
                try:
                    await asyncio.wait_for(self.region.wake.wait(), _TICK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            for task in self._busy.values():
                task.cancel()

    def _run_due(self) -> None:
        store = self.region.store
        for row in store.rows("SELECT * FROM task WHERE due <= ? ORDER BY id", time.time()):
            system_id = row["system_id"]
            if row["kind"] not in POWER_TASKS:
                with store.transaction():
                    store.db.execute("DELETE FROM task WHERE id = ?", (row["id"],))
                    self._run_now(system_id, row["kind"], row["detail"])
            elif system_id not in self._busy:
                switching = asyncio.create_task(self._switch(row["id"], system_id, row["kind"]))
                self._busy[system_id] = switching
                switching.add_done_callback(lambda done, key=system_id: self._switched(key, done))  # type: ignore[misc]
        self._fail_expired()

    def _switched(self, system_id: str, done: asyncio.Task[None]) -> None:
        self._busy.pop(system_id, None)
        self.region.wake.set()
        if not done.cancelled() and done.exception():
            _LOG.error("power task of %s", system_id, exc_info=done.exception())

    def _run_now(self, system_id: str, kind: str, detail: str) -> None:
        store = self.region.store
        machine = store.machine(system_id)
        if kind == "finish_testing" and machine.status == Status.TESTING:
            tested(self.region, machine)
        elif kind == "set_status":
            change_status(store, machine, Status(int(detail)))
        store.save(machine)

    def _fail_expired(self) -> None:
        """A machine that did not report in time has failed (maasserver/status_monitor.py)."""
        store = self.region.store
        for row in store.rows("SELECT system_id FROM machine WHERE expires <= ?", time.time()):
            with store.transaction():
                machine = store.machine(row["system_id"])
                machine.status_expires = None
                if machine.status in MONITORED:
                    minutes = self.region.settings.node_timeout_seconds / 60
                    comment = f"Node operation '{machine.status.label}' timed out after {minutes:g} minutes."
                    mark_failed(self.region, machine, comment)
                store.save(machine)

    async def _switch(self, task_id: int, system_id: str, kind: str) -> None:
        store = self.region.store
        machine = store.machine(system_id)
        power = Power(machine, self.region.settings)
        target = "off" if kind == "power_off" else "on"
        problem = None
        try:
            state = await (power.cycle() if kind == "power_cycle" else power.switch(target))
        except PowerError as error:
            state, problem = "error", str(error)
        with store.transaction():
            current = store.find_machine("system_id", system_id)
            superseded = store.row("SELECT 1 FROM task WHERE id = ?", task_id) is None
            store.db.execute("DELETE FROM task WHERE id = ?", (task_id,))
            if current is None:
                return
            if not power.by_hand:
                current.power_state = state
            elif self.region.release >= (3, 6) and current.status == Status.DEPLOYING:
                # 3.6 takes a machine it told somebody to start for started (row "status sequence").
                current.power_state = "on"
            if problem and not superseded:
                comment = f"Power {target} for the node failed: {problem}"
                mark_failed(self.region, current, comment)
                record(store, current, _FAILED_EVENT[target], comment)
            elif state in _DONE_EVENT:
                record(store, current, _DONE_EVENT[state])
                if state == "off" and current.status == Status.RELEASING:
                    released(self.region, current)
                elif current.status == Status.EXITING_RESCUE_MODE and not superseded:
                    out_of_rescue_mode(self.region, current)
            store.save(current)
