"""How much each link of the ring carries: every worker sends a sample to the next one, over TCP as MPI will.

    python -m edge_training.links all '{"workers": [...], "ssh_port": 2222, "seconds": 0.5}'
    python -m edge_training.links receive '{"address": "10.10.0.12", "sender": "10.10.0.11", "seconds": 0.5}'
    python -m edge_training.links send '{"address": ..., "sender": ..., "seconds": ..., "port": 40123}'

`all` runs on the launcher, which asks the others over SSH. It prints {"links": [...]}, one for each worker in the order
of the request: {"from": name, "to": name} with `bits_per_second` of payload, or with `error`. With `pairs`, each of two
names, these links are measured in place of the ring's, one after the other.

`receive` prints the port that it listens on, and at the end {"bytes": ..., "seconds": ...} from the first byte to the
last.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from edge_training.probe import AT_ONCE, ssh

CHUNK = bytes(1 << 16)
# What is still on its way when the time is over: little even for a link of 1 Mbit/s, enough for one of 10 Gbit/s.
BUFFER_BYTES = 1 << 18
# Beyond the sample: for SSH, and for Python to start on a slow device.
GRACE_SECONDS = 15.0


class Link(NamedTuple):
    sender: dict[str, Any]
    receiver: dict[str, Any]


def ring(workers: list[dict[str, Any]]) -> list[Link]:
    """Each worker and its neighbour, the last one's being the first; a ring of one has none."""
    return [Link(*pair) for pair in zip(workers, workers[1:] + workers[:1], strict=True)] if len(workers) > 1 else []


def receive(address: str, sender: str, seconds: float) -> None:
    """Take one sample, of nobody but `sender`.

    Raises:
        OSError: `address` is none of this host, or nobody came within the sample's time and the grace (TimeoutError).
    """
    with socket.create_server((address, 0)) as server:
        print(server.getsockname()[1], flush=True)
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        while True:
            server.settimeout(max(0.001, deadline - time.monotonic()))
            connection, (peer, _port) = server.accept()
            with connection:
                if peer == sender:
                    print(json.dumps(_take(connection, deadline)), flush=True)
                    return


def _take(connection: socket.socket, deadline: float) -> dict[str, float]:
    """What came, and the seconds from the first of it to the last."""
    taken, began, ended = 0, 0.0, 0.0
    buffer = bytearray(len(CHUNK))
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        count = connection.recv_into(buffer)
        if not count:
            return {"bytes": taken, "seconds": ended - began}
        ended = time.perf_counter()
        began = began or ended
        taken += count


def send(address: str, port: int, sender: str, seconds: float) -> None:
    """Send from the address `sender` as much as the link takes in that time.

    Raises:
        OSError: `sender` is none of this host, or nobody answers at `address`.
    """
    with socket.create_connection((address, port), GRACE_SECONDS, (sender, 0)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            connection.sendall(CHUNK)


def measure(link: Link, ssh_port: int, seconds: float) -> dict[str, Any]:
    """One link; whatever goes wrong is its `error`."""
    known = {"from": link.sender["name"], "to": link.receiver["name"]}
    sender_address, address = link.sender["address"], link.receiver["address"]
    request = {"address": address, "sender": sender_address, "seconds": seconds}
    try:
        with _asked(address, ssh_port, "receive", request) as receiver:
            assert receiver.stdout is not None
            try:
                # One that does not even begin is not waited for.
                patience = threading.Timer(GRACE_SECONDS, receiver.kill)
                patience.start()
                port = receiver.stdout.readline().strip()
                patience.cancel()
                if not port:
                    return {**known, "error": _last_line(receiver.communicate(timeout=GRACE_SECONDS)[1])}
                with _asked(sender_address, ssh_port, "send", {**request, "port": int(port)}) as sender:
                    try:
                        _out, said = sender.communicate(timeout=seconds + 2 * GRACE_SECONDS)
                    finally:
                        sender.kill()
                if sender.returncode != 0:
                    return {**known, "error": _last_line(said)}
                out, said = receiver.communicate(timeout=GRACE_SECONDS)
                if receiver.returncode != 0:
                    return {**known, "error": _last_line(said)}
            finally:
                receiver.kill()
        found = json.loads(out)
        return {**known, "bits_per_second": round(8 * found["bytes"] / found["seconds"])}
    except (subprocess.TimeoutExpired, ValueError, ZeroDivisionError) as error:
        return {**known, "error": f"no sample came through ({type(error).__name__})"}


def measure_all(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Every link of the ring, some at a time; or those that are asked for, which share no cable then."""
    by_name = {worker["name"]: worker for worker in request["workers"]}
    pairs = [Link(by_name[sender], by_name[receiver]) for sender, receiver in request.get("pairs", [])]
    with ThreadPoolExecutor(1 if pairs else AT_ONCE) as pool:
        return list(
            pool.map(
                lambda link: measure(link, request["ssh_port"], request["seconds"]), pairs or ring(request["workers"])
            )
        )


def _asked(address: str, ssh_port: int, what: str, request: dict[str, Any]) -> subprocess.Popen[str]:
    command = f"python -m edge_training.links {what} {shlex.quote(json.dumps(request))}"
    return subprocess.Popen(  # noqa: S603
        ssh(address, ssh_port, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


def main(arguments: list[str]) -> int:
    what, request = arguments[0], json.loads(arguments[1])
    if what == "all":
        print(json.dumps({"links": measure_all(request)}))
    elif what == "receive":
        receive(**request)
    else:
        send(**request)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
