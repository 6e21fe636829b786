"""What a prediction costs over HTTP, beside a bare call of ONNX Runtime with the same model in the same run.

    python -m tests.benchmarks.predictor          (make bench)

The Predictor runs as in its image, one process of uvicorn on loopback; its model is Fashion-MNIST's network, untrained.
Calls and requests of one image take turns, so that both meet the same machine; requests are JSON on one connection.
Saturated: CONNECTIONS clients without a pause, for SECONDS; the bare figure is as many threads as there are processors.
Swapped: the same again, while two models take each other's place without a pause.

Goals: p50 at most 1.5 x the bare call + 1 ms; no failed request, saturated or swapped; less than 150 MB of memory.
Writes .bench/predictor.md and .json.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from tests import registries
from tests.benchmarks import results
from tests.unit.training.conftest import lean_torch

lean_torch.without_compiler()

from edge_training import bundle, export  # noqa: E402
from edge_training.tasks.fashion_mnist import FashionMnist  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[2]
ACTIVATE = CHECKOUT / "training/images/predictor/activate"
PAIRS, WARM = 1000, 50
CONNECTIONS, SECONDS = 32, 10.0
START_SECONDS = 60


def main() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        digest, onnx = model(Path(folder), image)
        other, _onnx = model(Path(folder), image, seed=2)
        bare = session(onnx)
        with predictor(Path(folder), digest) as (pid, port):
            one = paired(bare, port, image)
            many = saturated(port, image)
            swapped = while_swapped(Path(folder), [other, digest], lambda: saturated(port, image))
            memory = resident(pid)
        many_bare = busy(onnx, image)
    report = {
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}",
        "onnxruntime": onnxruntime.__version__,
        "one": one,
        "p50_goal": 1.5 * one["bare"]["p50_ms"] + 1,
        "saturated": {**many, "bare_per_second": many_bare},
        "swapped": swapped,
        "memory_mb": memory / 1e6,
    }
    results.write("predictor", report, show(report))


def model(folder: Path, image: Any, seed: int = 1) -> tuple[str, bytes]:
    """A bundle whose one sample is what the untrained network says of it: its digest and its graph."""
    torch.manual_seed(seed)
    task = FashionMnist()
    onnx = export.to_onnx(task.model(), task.example_input())
    said = int(call(session(onnx), image).argmax())
    manifest = bundle.Manifest(
        format=1,
        task=task.name,
        classes=list(task.classes),
        input={"name": export.INPUT, "shape": [28, 28], "dtype": "float32"},
        output={"name": export.OUTPUT, "activation": "softmax"},
        preprocessing=task.preprocessing,
        metrics={},
        trained={"job": "bench"},
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
    )
    digest, _path = bundle.write(folder, bundle.pack(manifest, onnx, [bundle.Sample(image, said, said)]))
    return digest, onnx


def session(onnx: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def call(bare: onnxruntime.InferenceSession, image: Any) -> Any:
    return bare.run(None, {export.INPUT: np.asarray([image], np.float32)})[0]


@contextlib.contextmanager
def predictor(folder: Path, digest: str) -> Iterator[tuple[int, int]]:
    """A Predictor's process and port."""
    port = registries.free_ports()
    (folder / "model.json").write_text(json.dumps({"digest": digest}))
    told = {
        "EDGE_MODELS_DIR": str(folder),
        "EDGE_SERVING_FILE": str(folder / "model.json"),
        "EDGE_PREDICTOR_SOCKET": str(folder / "socket"),
        "EDGE_PREDICTOR_ADDRESS": "127.0.0.1",
        "EDGE_PREDICTOR_PORT": str(port),
        "PYTHONPATH": str(CHECKOUT / "training"),
    }
    running = subprocess.Popen([sys.executable, "-m", "edge_training.predictor"], env={**os.environ, **told})
    try:
        wait(port)
        yield running.pid, port
    finally:
        running.terminate()
        running.wait(30)


def wait(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        if time.monotonic() > end:
            raise SystemExit(f"the Predictor was not ready within {START_SECONDS} seconds")
        time.sleep(0.1)


def asking(port: int, image: Any) -> Callable[[], int]:
    """A client with one connection; each call is one request, and gives its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = json.dumps({"instances": [image]})
    headers = {"Content-Type": "application/json"}

    def ask() -> int:
        connection.request("POST", "/predictions", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return ask


def paired(bare: onnxruntime.InferenceSession, port: int, image: Any) -> dict[str, Any]:
    """Milliseconds of a bare call and of a request, in turns."""
    ask, took = asking(port, image), ([], [])  # type: tuple[list[float], list[float]]
    for number in range(WARM + PAIRS):
        for seconds, work in zip(took, (lambda: call(bare, image), ask), strict=True):
            began = time.perf_counter()
            work()
            if number >= WARM:
                seconds.append(time.perf_counter() - began)
    return {"bare": quantiles(took[0]), "http": quantiles(took[1])}


def quantiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}


def saturated(port: int, image: Any) -> dict[str, Any]:
    """Requests a second with all connections busy, and how many failed."""
    end = time.monotonic() + SECONDS

    def client(_number: int) -> list[tuple[int, float]]:
        ask, found = asking(port, image), []
        while time.monotonic() < end:
            began = time.perf_counter()
            found.append((ask(), time.perf_counter() - began))
        return found

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        answers = [one for found in pool.map(client, range(CONNECTIONS)) for one in found]
    return {
        "connections": CONNECTIONS,
        "requests": len(answers),
        "failed": sum(status != 200 for status, _seconds in answers),
        "per_second": len(answers) / SECONDS,
        **quantiles([seconds for _status, seconds in answers]),
    }


def while_swapped(folder: Path, digests: list[str], measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured while these models take turns, and how often they did."""
    ended = threading.Event()

    def swap() -> int:
        count = 0
        while not ended.is_set():
            command = [sys.executable, str(ACTIVATE), digests[count % len(digests)]]
            subprocess.run(command, env={"EDGE_PREDICTOR_SOCKET": str(folder / "socket")}, check=True, timeout=60)
            count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        swapping = pool.submit(swap)
        try:
            found = measured()
        finally:
            ended.set()
        return {**found, "swaps": swapping.result()}


def busy(onnx: bytes, image: Any) -> float:
    """Bare calls a second of as many threads as there are processors."""
    end = time.monotonic() + SECONDS / 2

    def work(_number: int) -> int:
        bare, count = session(onnx), 0
        while time.monotonic() < end:
            call(bare, image)
            count += 1
        return count

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads))) / (SECONDS / 2)


def resident(pid: int) -> int:
    """Bytes that the process holds (VmHWM of proc(5): the most it ever did)."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def show(report: dict[str, Any]) -> str:
    one, many, swapped = report["one"], report["saturated"], report["swapped"]
    lines = [
        "# A prediction over HTTP",
        "",
        f"{report['machine']}, ONNX Runtime {report['onnxruntime']}",
        "",
        "| one image at a time | p50 ms | p99 ms |",
        "|---|---|---|",
        f"| bare call | {one['bare']['p50_ms']:.2f} | {one['bare']['p99_ms']:.2f} |",
        f"| request | {one['http']['p50_ms']:.2f} | {one['http']['p99_ms']:.2f} |",
        f"| goal (1.5 x bare + 1 ms) | {report['p50_goal']:.2f} | |",
        "",
        f"Saturated, {many['connections']} connections: {many['requests']} requests, {many['failed']} failed, "
        f"{many['per_second']:.0f} a second (bare, all processors: {many['bare_per_second']:.0f}), "
        f"p50 {many['p50_ms']:.1f} ms, p99 {many['p99_ms']:.1f} ms. "
        f"While {swapped['swaps']} times another model took over: {swapped['requests']} requests, "
        f"{swapped['failed']} failed, p99 {swapped['p99_ms']:.1f} ms. "
        f"Memory: {report['memory_mb']:.0f} MB (goal: under 150).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
