"""What a finished lab shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab import report
from lab.settings import LabError, Settings
from lab.site import SiteRun

IMAGES = {"worker": {"tag": "0.1.0", "reference": "registry.edge.lab:5000/edge/worker@sha256:aa"}}
TRAINING = {
    "task": "digits", "ranks": 4, "epochs": 12, "seconds": 31.44, "loss_first": 2.2339, "loss_last": 0.1234567,
    "accuracy": 0.966574, "held_out": 359, "parameter_hashes": ["d9ff"], "wire_bytes_per_step": 449632,
}  # fmt: skip
SERVING = {
    "devices": [
        {"name": "nuc-001", "address": "10.77.0.20", "status": "Deployed", "predictor": "http://10.77.0.20:8480/"},
        {"name": "nuc-002", "address": "10.77.0.21", "status": "Deployed", "predictor": "http://10.77.0.21:8480/"},
    ],
    "model_digest": "sha256:5013",
    "prediction": {"value": "4", "truth": "4", "devices": 2, "devices_right": 2},
}


def gathered(settings: Settings) -> dict[str, Any]:
    (settings.state / "report").mkdir(parents=True)
    for name, content in (("images", IMAGES), ("training", TRAINING), ("serving", SERVING)):
        (settings.state / "report" / f"{name}.json").write_text(json.dumps(content))
    status = [{"device": name, "outcome": "ok", "running": "2026.11"} for name in ("nuc-001", "nuc-002")]
    return report.write(settings, SiteRun(changed=7), {"machine": 0.4, "train": 40.0}, status)


@pytest.fixture
def result(lab) -> dict[str, Any]:
    settings = lab(LAB_DEVICES="2")
    written = gathered(settings)
    assert json.loads((settings.state / "result.json").read_text()) == written
    return written


@pytest.mark.parametrize(
    "line",
    [
        "  nuc-001    10.77.0.20      Deployed",
        "  worker     registry.edge.lab:5000/edge/worker@sha256:aa",
        "  task       digits, 4 ranks, 12 epochs, 31.4 s",
        "  loss       2.2339 -> 0.1235",
        "  accuracy   0.9666 on 359 images that no rank trained on",
        "  parameters d9ff on all ranks",
        "  wire       449,632 bytes per rank and step",
        "  digest     sha256:5013",
        "  prediction 4 (truth 4), right on 2 of 2 devices",
        "  nuc-002    ok           2026.11",
        "  MAAS       http://10.77.0.10:5240/MAAS/api/2.0/",
        "  registry   https://10.77.0.11:5000/v2/",
        "  predictor  http://10.77.0.20:8480/",
        "  train         40.0 s",
        "  total         99.5 s",
        "Changed tasks: 7.",
    ],
)
def test_the_terminal_shows(result, line):
    assert line in report.show(result, 99.5).splitlines()


def test_a_training_that_measured_no_traffic_shows_none(result):
    del result["training"]["wire_bytes_per_step"]
    assert "  wire" not in report.show(result, 1.0)


def test_devices_that_do_not_serve_are_not_passed_over(lab):
    with pytest.raises(LabError, match="2 of 4 devices serve the model: nuc-001, nuc-002"):
        gathered(lab(LAB_DEVICES="4"))
