"""What a finished lab has to show: on the terminal for people, in result.json for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.settings import LabError, Settings
from lab.site import SiteRun


def write(settings: Settings, site: SiteRun, phases: dict[str, float], status: list[dict[str, Any]]) -> dict[str, Any]:
    """Gather what the playbooks left in the state folder into result.json; returns its content."""
    images = _read(settings.state / "report" / "images.json")
    training = _read(settings.state / "report" / "training.json")
    serving = _read(settings.state / "report" / "serving.json")
    if len(serving["devices"]) != settings.devices:
        served = ", ".join(device["name"] for device in serving["devices"])
        raise LabError(
            f"{len(serving['devices'])} of {settings.devices} devices serve the model: {served}; see MAAS for the rest"
        )
    result = {
        "devices": serving["devices"],
        "images": images,
        "training": training,
        "model_digest": serving["model_digest"],
        "prediction": serving["prediction"],
        "status": status,
        "changed": site.changed,
        "phases": phases,
        "addresses": {
            "MAAS": f"{settings.maas_url}/api/2.0/",
            "registry": f"https://{settings.address(11)}:5000/v2/",
            "dashboard": f"https://{settings.address(12)}:8443/",
            "ARA": f"https://{settings.address(12)}:8444/",
            "predictor": serving["devices"][0]["predictor"],
        },
    }
    target = settings.state / "result.json"
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.rename(target)
    return result


def show(result: dict[str, Any], total: float) -> str:
    """The same for a person."""
    training, prediction = result["training"], result["prediction"]
    wire = training.get("wire_bytes_per_step")
    lines = [
        "",
        "Devices",
        *(f"  {d['name']:<10} {d['address']:<15} {d['status']}" for d in result["devices"]),
        "Images",
        *(f"  {name:<10} {image['reference']}" for name, image in result["images"].items()),
        "Training",
        f"  task       {training['task']}, {training['ranks']} ranks, {training['epochs']} epochs, "
        f"{training['seconds']:.1f} s",
        f"  loss       {training['loss_first']:.4f} -> {training['loss_last']:.4f}",
        f"  accuracy   {training['accuracy']:.4f} on {training['held_out']} images that no rank trained on",
        f"  parameters {', '.join(training['parameter_hashes'])} on all ranks",
        *([f"  wire       {wire:,} bytes per rank and step"] if wire else []),
        "Model",
        f"  digest     {result['model_digest']}",
        f"  prediction {prediction['value']} (truth {prediction['truth']}), right on "
        f"{prediction['devices_right']} of {prediction['devices']} devices",
        "Devices by their own word",
        *(
            f"  {device['device']:<10} {device['outcome']:<12} {device['running'] or 'no release'}"
            for device in result["status"]
        ),
        "Addresses",
        *(f"  {name:<10} {url}" for name, url in result["addresses"].items()),
        "Time",
        *(f"  {name:<10} {seconds:7.1f} s" for name, seconds in result["phases"].items()),
        f"  {'total':<10} {total:7.1f} s",
        "",
        f"Changed tasks: {result['changed']}.",
    ]
    return "\n".join(lines)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())
