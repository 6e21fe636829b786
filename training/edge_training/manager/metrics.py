"""Numbers for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from edge_training.counting import Requests
from edge_training.manager.status import Status


class Metrics:
    """Of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Requests("edge_manager", self._registry, buckets=(0.01, 0.1, 1, 10, 60))
        self._running = Gauge("edge_manager_running", "Container runs", ["container"], registry=self._registry)
        self._healthy = Gauge("edge_manager_healthy", "Container is healthy", ["container"], registry=self._registry)
        self._released = Gauge(
            "edge_manager_released", "Container is of the release's image", ["container"], registry=self._registry
        )
        self._training = Gauge("edge_manager_training", "Ranks run", registry=self._registry)
        self._locked = Gauge("edge_manager_locked", "Device is locked", registry=self._registry)
        self._disk = Gauge("edge_manager_disk_free_bytes", "Free disk", registry=self._registry)
        self._memory = Gauge("edge_manager_memory_free_bytes", "Available memory", registry=self._registry)
        self._temperature = Gauge("edge_manager_temperature_celsius", "Warmest sensor", registry=self._registry)

    def exposed(self, status: Status) -> Response:
        """With what the device is like now."""
        for kind, container in status.containers.items():
            self._running.labels(kind).set(container is not None and container.state == "running")
            self._healthy.labels(kind).set(container is not None and container.health == "healthy")
            self._released.labels(kind).set(container is not None and container.released)
        self._training.set(status.training.state == "training")
        self._locked.set(status.lock is not None)
        self._disk.set(status.machine.disk.free_bytes)
        self._memory.set(status.machine.memory.free_bytes)
        if status.machine.temperature_celsius is not None:
            self._temperature.set(status.machine.temperature_celsius)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
