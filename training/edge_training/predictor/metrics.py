"""Numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from edge_training.counting import Requests

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)


class Metrics:
    """Of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Requests("edge_predictor", self._registry, SECONDS)
        self._predictions = Counter(
            "edge_predictor_predictions_total", "Predictions by class", ["label"], registry=self._registry
        )
        self._waiting = Gauge("edge_predictor_waiting", "Requests that wait or are answered", registry=self._registry)
        self._waiting.set_function(lambda: self.in_line)
        self.in_line = 0
        self._model = Gauge("edge_predictor_model", "1 for the model that answers", ["digest"], registry=self._registry)

    @contextmanager
    def waits(self) -> Iterator[None]:
        """A request is in line; asked by one thread alone, the event loop's."""
        self.in_line += 1
        try:
            yield
        finally:
            self.in_line -= 1

    def count(self, answers: list[dict[str, Any]]) -> None:
        for answer in answers:
            self._predictions.labels(answer["label"]).inc()

    def exposed(self, digest: str) -> Response:
        """With the model that answers now; empty for none."""
        self._model.clear()
        if digest:
            self._model.labels(digest).set(1)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
