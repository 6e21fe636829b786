# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong between us, MAAS and a device: each with a clear outcome, and a second run that finishes the job."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_machine, maas_machine_info
from maas_bmc import Bmc
from maas_rack import Fault, until
from maas_region import API_KEY

IMAGE = b"an image" * 10
CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def image(region: Any) -> str:
    region.upload("custom/edge-1", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    return "custom/edge-1"


# -- The region


def turned_away(port: int) -> None:
    """In the place of a region that is not there: wait until somebody has come in vain."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.settimeout(60)
        listener.accept()[0].close()


def test_a_wait_outlives_a_region_that_restarts(rack: Any, devices: Any, run_module: Any, image: str) -> None:
    (system_id, _other) = rack.add("nuc-1", "nuc-2")
    devices.dead.add("nuc-1")
    happened = []

    def restart() -> None:
        until(lambda: rack.status(system_id) == "Commissioning")
        rack.stop()
        turned_away(rack.port)
        asked = len(rack.proxy.asked)
        rack.start()
        # The module is there again before the device is.
        until(lambda: len(rack.proxy.asked) > asked)
        happened.append("restart")
        devices.dead.clear()

    thread = threading.Thread(target=restart)
    thread.start()
    done = run_module(
        maas_machine, state="deployed", image=image, machines=[{"hostname": "nuc-1"}, {"hostname": "nuc-2"}], at_once=1
    )
    thread.join()
    assert happened == ["restart"]
    assert [m["status"] for m in done["machines"]] == ["Deployed", "Deployed"], done.get("msg")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "machines/", 503, {"Retry-After": "0"}, after=1, times=2),
        Fault("GET", "machines/", 429, {"Retry-After": "0"}, after=1, times=2),
        Fault("GET", "machines/", 502, after=1, times=9),
        Fault("POST", "op=commission", 503, {"Retry-After": "0"}),
        Fault("POST", "op=commission", 429, {"Retry-After": "0"}),
        Fault("POST", "op=commission", 503, times=2),
        Fault("POST", "op=commission", 0),  # the region has done it, and its answer is lost
        Fault("POST", "op=deploy", 0),
        Fault("POST", "op=deploy", 409, {"Retry-After": "0", "Content-Type": "text/html"}, b"<h1>Conflict</h1>"),
    ],
    ids=lambda fault: f"{fault.method} {fault.part} {fault.status} {'retry' if fault.headers else ''}",
)
def test_a_region_that_is_busy_for_a_while_costs_time_and_nothing_else(
    rack: Any, devices: Any, run_module: Any, image: str, fault: Fault
) -> None:
    rack.add("nuc-1")
    rack.proxy.faults = [fault]
    done = run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    assert fault.times == 0, "the fault did not happen"
    assert not done.get("failed"), done["msg"]
    assert done["machine"]["status"] == "Deployed"
    assert rack.events(done["machine"]["system_id"]).count("Commissioning") == 1
    assert rack.events(done["machine"]["system_id"]).count("Deploying") == 1


def test_a_region_that_stays_busy_is_an_error_and_the_next_run_finishes(
    rack: Any, devices: Any, run_module: Any
) -> None:
    rack.add("nuc-1", "nuc-2")
    machines = [{"hostname": "nuc-1"}, {"hostname": "nuc-2"}]
    rack.proxy.faults = [Fault("POST", f"{rack.id('nuc-1')}/?op=commission", 503, body=b"busy", times=99)]
    failed = run_module(maas_machine, state="ready", machines=machines)
    assert failed["msg"].startswith("1 of 2 machines did not become ready:\n- nuc-1")
    assert "MAAS answered 503: busy. The region has a problem of its own" in failed["msg"]
    assert [m["status"] for m in failed["machines"]] == ["New", "Ready"]
    rack.proxy.faults = []
    done = run_module(maas_machine, state="ready", machines=machines)
    assert [change["machine"] for change in done["changes"]] == ["nuc-1"]
    assert [m["status"] for m in done["machines"]] == ["Ready", "Ready"]


# -- The machine


def test_a_machine_stuck_in_deploying_is_named_and_the_others_go_on(
    rack: Any, devices: Any, run_module: Any, image: str
) -> None:
    rack.add("nuc-1", "nuc-2")
    machines = [{"hostname": "nuc-1"}, {"hostname": "nuc-2"}]
    run_module(maas_machine, state="ready", machines=machines)
    devices.dead.add("nuc-2")
    wanted = {"state": "deployed", "image": image, "machines": machines}
    late = run_module(maas_machine, **wanted, wait_timeout_seconds=3)
    assert late["msg"].startswith(
        "1 of 2 machines did not become deployed, 1 of them not within 3 seconds:\n- nuc-2"
    ), late
    assert "it is still Deploying" in late["msg"]
    assert "a further run goes on waiting" in late["msg"]
    assert [m["status"] for m in late["machines"]] == ["Deployed", "Deploying"]

    devices.dead.clear()
    done = run_module(maas_machine, **wanted)
    assert (done["changed"], [m["status"] for m in done["machines"]]) == (False, ["Deployed", "Deployed"])


def test_what_maas_gave_up_is_begun_anew_by_the_next_run(rack: Any, devices: Any, run_module: Any, image: str) -> None:
    (system_id,) = rack.add("nuc-1")
    devices.dead.add("nuc-1")
    run_module(maas_machine, state="ready", hostname="nuc-1", wait=False)
    rack.region.call("POST", f"machines/{system_id}/?op=abort", data={"comment": "x"})
    rack.region.wait(system_id, 0)
    devices.dead.clear()
    run_module(maas_machine, state="ready", hostname="nuc-1")
    devices.dead.add("nuc-1")
    run_module(maas_machine, state="deployed", hostname="nuc-1", image=image, wait=False)
    rack.region.node(system_id).event("modules-final", "FAIL")
    failed = rack.region.machine(system_id)
    assert failed["status_name"] == "Failed deployment"
    devices.dead.clear()
    done = run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    assert done["changes"][0]["actions"] == ["release", "deploy"]
    assert done["machine"]["status"] == "Deployed"


# -- Its power


def test_a_power_failure_is_quoted_and_the_next_run_finishes(
    rack: Any, devices: Any, run_module: Any, bmc: Bmc
) -> None:
    rack.add("nuc-1", **bmc.parameters())
    bmc.broken = True
    failed = run_module(maas_machine, state="ready", hostname="nuc-1")
    assert "nuc-1" in failed["msg"]
    assert "it is Failed commissioning" in failed["msg"]
    assert "Request failed with response status code: 500" in failed["msg"]
    assert failed["failed_machines"][0]["status"] == "Failed commissioning"
    asked = run_module(maas_machine, state="poweredoff", hostname="nuc-1")
    why = "Failed to complete power action: Request failed with response status code: 500."
    assert (
        f"nuc-1: MAAS cannot ask for its power (Failed to query node's BMC: {why}): check `power_type`" in asked["msg"]
    )
    seen = run_module(maas_machine_info, hostname=["nuc-1"], power=True)["machines"][0]
    assert (seen["power_state"], seen["power_fault"]) == ("error", f"Failed to query node's BMC: {why}")
    bmc.broken = False
    seen = run_module(maas_machine_info, hostname=["nuc-1"], power=True)["machines"][0]
    assert (seen["power_state"], seen["power_fault"]) == ("off", "")
    done = run_module(maas_machine, state="ready", hostname="nuc-1")
    assert (done["machine"]["status"], done["changes"][0]["actions"]) == ("Ready", ["commission"])


def test_power_that_fails_while_it_is_switched_is_a_failure_of_this_run(
    rack: Any, devices: Any, run_module: Any, bmc: Bmc
) -> None:
    rack.add("nuc-1", **bmc.parameters())
    run_module(maas_machine, state="allocated", hostname="nuc-1")
    run_module(maas_machine, state="poweredoff", hostname="nuc-1")
    bmc.refuses_to_switch = True
    failed = run_module(maas_machine, state="poweredon", hostname="nuc-1", wait_timeout_seconds=60)
    assert "MAAS could not switch its power on" in failed["msg"]
    assert "Failed to power on node" in failed["msg"]
    bmc.refuses_to_switch = False
    assert run_module(maas_machine, state="poweredon", hostname="nuc-1")["machine"]["power_state"] == "on"


def test_a_controller_that_says_neither_on_nor_off_is_quoted(
    rack: Any, devices: Any, run_module: Any, bmc: Bmc
) -> None:
    (system_id,) = rack.add("nuc-1", **bmc.parameters())
    run_module(maas_machine, state="allocated", hostname="nuc-1")
    rack.settle()
    bmc.says_nothing = True
    assert run_module(maas_machine_info, hostname=["nuc-1"], power=True)["machines"][0]["power_state"] == "unknown"
    failed = run_module(maas_machine, state="poweredon", hostname="nuc-1", wait_timeout_seconds=60)
    assert f"Failed to power {system_id}. BMC never transitioned from unknown to on." in failed["msg"]
    assert "Check its BMC, `power_type` and `power_parameters`, then run again." in failed["msg"]


def test_a_wrong_power_password_is_set_right_by_the_next_run(
    rack: Any, devices: Any, run_module: Any, bmc: Bmc
) -> None:
    bmc.password = "right-s3cret"
    wrong = bmc.parameters(power_user="maas", power_pass="wrong-s3cret")
    rack.add("nuc-1", **wrong)
    failed = run_module(maas_machine, state="ready", hostname="nuc-1")
    assert "it is Failed commissioning" in failed["msg"]
    assert "Request failed with response status code: 401" in failed["msg"]
    assert "Look at its power" in failed["msg"]
    done = run_module(maas_machine, state="ready", hostname="nuc-1", power_parameters={"power_pass": "right-s3cret"})
    assert done["machine"]["status"] == "Ready"
    assert done["diff"][0]["after"]["power_parameters"] == {"power_pass": "(hidden) new"}
    assert "s3cret" not in str(done)


# -- Two of us


def apart(rack: Any, **options: Any) -> subprocess.Popen[str]:
    """The module in a process of its own, as a second run of somebody else has it."""
    arguments = {"maas_url": rack.region.url, "maas_api_key": API_KEY, "_ansible_remote_tmp": "/tmp", **options}
    code = (
        "import sys; from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder as F;"
        f"F(paths=[{str(CHECKOUT / '.collections')!r}])._install();"
        "from ansible.module_utils import basic; basic._ANSIBLE_ARGS = sys.stdin.buffer.read();"
        "basic._ANSIBLE_PROFILE = 'legacy';"
        "from ansible_collections.edge.rack.plugins.modules import maas_machine; maas_machine.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process.stdin.close()
    process.stdin = None
    return process


def test_two_runs_at_once_on_one_machine_come_to_one_end(rack: Any, devices: Any, run_module: Any, image: str) -> None:
    (system_id,) = rack.add("nuc-1")
    wanted = {"state": "deployed", "hostname": "nuc-1", "image": image}
    runs = [apart(rack, **wanted), apart(rack, **wanted)]
    outputs = [run.communicate(timeout=120) for run in runs]
    results = [json.loads(out) for out, _error in outputs]
    assert [result.get("failed", False) for result in results] == [False, False], outputs
    assert {result["machine"]["status"] for result in results} == {"Deployed"}
    assert (rack.events(system_id).count("Commissioning"), rack.events(system_id).count("Deploying")) == (1, 1)
    assert not run_module(maas_machine, **wanted)["changed"]


def test_a_run_that_comes_second_waits_for_what_the_first_has_begun(
    rack: Any, devices: Any, run_module: Any, image: str
) -> None:
    (system_id,) = rack.add("nuc-1")
    run_module(maas_machine, state="ready", hostname="nuc-1")
    # Between the plan and its first step, another run begins the same.
    rack.proxy.before("POST", "op=deploy", lambda: rack.begin_deployment(system_id, image))
    done = run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    assert not done.get("failed"), done["msg"]
    assert done["machine"]["status"] == "Deployed"
    assert rack.events(system_id).count("Deploying") == 1


def test_a_run_that_wants_something_else_is_told_so(rack: Any, devices: Any, run_module: Any, image: str) -> None:
    (system_id,) = rack.add("nuc-1")
    run_module(maas_machine, state="ready", hostname="nuc-1")
    rack.proxy.before("POST", "op=deploy", lambda: rack.begin_deployment(system_id, "ubuntu/noble"))
    failed = run_module(maas_machine, state="deployed", hostname="nuc-1", image=image)
    assert "MAAS answered 409: Can't deploy a machine that is in the 'Deploying' state" in failed["msg"]
    again = run_module(maas_machine, state="deployed", hostname="nuc-1", image=image, redeploy=True)
    assert (again["machine"]["status"], again["machine"]["image"]) == ("Deployed", image)
