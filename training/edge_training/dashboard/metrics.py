"""Numbers for Prometheus: the rack's, the jobs', and those of the training that was heard of last.

A training worker lives no longer than its training and listens to its ranks alone, so its numbers are here.
"""

from __future__ import annotations

import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.responses import Response

from edge_training.dashboard.jobs import Jobs
from edge_training.dashboard.rack import Rack, State
from edge_training.dashboard.trainings import Trainings
from edge_training.dashboard.watch import Watch


class Metrics(Collector):
    """Read from the store at each question, so that a restart begins no count anew."""

    def __init__(self, rack: Rack, jobs: Jobs, trainings: Trainings, watch: Watch, certificate: Path) -> None:
        self._rack, self._jobs, self._trainings, self._watch = rack, jobs, trainings, watch
        # It reads its certificate once, too.
        self._certificate_ends = _end(certificate)

    def exposed(self) -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        devices = GaugeMetricFamily("edge_dashboard_devices", "Devices in this state", labels=["state"])
        states = Counter(device["state"] for device in self._rack.devices())
        for state in get_args(State):
            devices.add_metric([state], states[state])
        yield devices

        asked = self._watch.state()["asked"]
        if asked:
            words = "When the rack was asked last, as it answered"
            yield GaugeMetricFamily(
                "edge_dashboard_asked_timestamp_seconds", words, value=datetime.fromisoformat(asked).timestamp()
            )

        if self._certificate_ends is not None:
            words = "Seconds until the dashboard's certificate ends"
            left = self._certificate_ends - time.time()
            yield GaugeMetricFamily("edge_dashboard_certificate_seconds", words, value=left)

        jobs = GaugeMetricFamily("edge_dashboard_jobs", "Jobs so far, by how they stand", labels=["action", "state"])
        counted = self._jobs.counted()
        for (action, state), count in counted.items():
            jobs.add_metric([action, state], count)
        yield jobs

        if training := self._trainings.newest():
            yield from _of(training, runs=("train", "running") in counted)


def _end(certificate: Path) -> float | None:
    """When it ends; None where there is no openssl to say so, or no certificate."""
    asked = ["openssl", "x509", "-noout", "-enddate", "-in", str(certificate)]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))


def _of(training: dict[str, Any], runs: bool) -> Iterator[GaugeMetricFamily]:
    """`runs`: whether a job of the dashboard trains; of others it may not hear the end."""
    ranks, epoch = training["by_rank"], (training["epochs"] or [{}])[-1]
    result, start = training["result"] or {}, training["start"] or {}
    rates = [one["samples_per_second"] for one in ranks if one["samples_per_second"] is not None]
    values = {
        "running": ("Begun by a job of the dashboard that runs", runs and bool(start) and not result),
        "ranks": ("Ranks that began", start.get("ranks")),
        "epoch": ("Epochs that are done", epoch.get("epoch")),
        "step": ("Newest step of any rank", max((one["step"] for one in ranks), default=None)),
        "loss": ("Loss of the newest point of the curve", training["points"][-1][1] if training["points"] else None),
        "accuracy": ("Accuracy on held-out data", result.get("accuracy", epoch.get("accuracy"))),
        "samples_per_second": ("Of all ranks", sum(rates) if rates else None),
    }
    for name, (words, value) in values.items():
        if value is not None:
            family = GaugeMetricFamily(f"edge_training_{name}", words, labels=["training"])
            family.add_metric([training["job"]], float(value))
            yield family
    seconds = GaugeMetricFamily(
        "edge_training_step_seconds", "How long each rank's newest step took", labels=["training", "rank", "device"]
    )
    hosts = dict(enumerate(start.get("hosts", [])))
    for one in ranks:
        if one["seconds"] is not None:
            seconds.add_metric([training["job"], str(one["rank"]), hosts.get(one["rank"], "")], one["seconds"])
    yield seconds
