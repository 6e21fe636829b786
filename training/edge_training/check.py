"""Can a task train? Tried on this device before any other is asked: python -m edge_training.check my_task.py

It is imported, given one step forward and back, and exported, with a few examples of its own data. Each finding says
where: `my_task.py:31: what; fix`. Exit status 0 if there is none, 1 otherwise. `--json` prints one line for programs:
{"task", "digest", "parameters", "input_shape", "classes", "findings", "notes"}.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from edge_training import export, lean_torch
from edge_training.communicator import host_name
from edge_training.parameters import parameter_count
from edge_training.source import line_of, said
from edge_training.task import Examples, Surveying, Task, TaskError, check_task, load_task, source_of

BATCH = 8
BATCH_FIX = (
    "make no Python number of the batch's length (x.flatten(1), not x.reshape(len(x), -1)), nor branch on values"
)


@dataclass
class Verdict:
    """What came of it; no findings: it can train."""

    task: str | None = None
    digest: str | None = None
    parameters: int | None = None
    input_shape: list[int] | None = None
    classes: list[str] | None = None
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(reference: str, ranks: int = 1) -> Verdict:
    """Try the task as rank 0 of `ranks` would use it."""
    verdict = Verdict()
    try:
        task = load_task(reference)
    except TaskError as error:
        verdict.findings.append(str(error))
        return verdict
    except Exception as error:  # noqa: BLE001  a user's class may raise anything while it is made
        source = source_of(reference)
        where = line_of(error, source.path) if source else None
        verdict.findings.append(f"{where or reference}: {said(error)}")
        return verdict
    source = source_of(reference)
    verdict.digest = source.digest() if source else None
    trial = Trial(task, source.path if source else _file_of(task), verdict.findings)
    with trial.step("survey"):
        if isinstance(task, Surveying):
            task, verdict.notes = task.agree([(host_name(), task.survey())])
            trial.task = check_task(task, reference)
    if verdict.findings:
        return verdict
    verdict.task, verdict.classes = task.name, [str(name) for name in task.classes]
    verdict.input_shape = list(task.example_input().shape[1:])
    model = trial.model()
    examples = trial.examples(ranks)
    if model is not None:
        verdict.parameters = parameter_count(model)
        verdict.notes += _notes(model)
        trial.exported(model)
        if examples is not None:
            trial.learns(model, examples)
    return verdict


class Trial:
    """One task's steps; whatever goes wrong in one becomes a finding with the line that is at fault."""

    def __init__(self, task: Task, path: Path, findings: list[str]) -> None:
        self.task = task
        self.path = path
        self.findings = findings

    @contextmanager
    def step(self, member: str) -> Iterator[None]:
        """What is raised in it is a finding about `member`."""
        try:
            yield
        except TaskError as error:
            self.findings.append(f"{line_of(error, self.path) or self.defined(member)}: {error}")
        except Exception as error:  # noqa: BLE001  a user's code may raise anything
            self.findings.append(f"{line_of(error, self.path) or self.defined(member)}: {member}: {said(error)}")

    def defined(self, member: str) -> str:
        """`file:line` where the member begins."""
        try:
            method = getattr(type(self.task), member)
            return f"{inspect.getsourcefile(method)}:{inspect.getsourcelines(method)[1]}"
        except (AttributeError, OSError, TypeError):
            return str(self.path)

    def model(self) -> Any:
        """The model, if it answers for batches of one and of two with a logit per class."""
        with self.step("model"):
            torch.manual_seed(1)
            model = self.task.model()
            if not isinstance(model, torch.nn.Module):
                raise TaskError(f"model: returns {type(model).__name__}; return a torch.nn.Module")
            if parameter_count(model) == 0:
                raise TaskError("model: has nothing to train; give it layers with parameters")
            example = self.task.example_input()
            # In training mode too: the last examples of an epoch may come alone.
            for training in (True, False):
                model.train(training)
                for count in (1, 2):
                    inputs = example.expand(count, *example.shape[1:])
                    found, wanted = tuple(model(inputs).shape), (count, len(self.task.classes))
                    if found != wanted:
                        raise TaskError(
                            f"model: gives {found} for {count} example(s) of {tuple(example.shape[1:])}; give {wanted},"
                            " one logit for each class"
                        )
            return model
        return None

    def examples(self, ranks: int) -> Examples | None:
        """The first training examples of rank 0, if they are what the model takes."""
        with self.step("dataset"):
            part = self.task.dataset("train", 0, ranks)
            if not isinstance(part, Examples):
                raise TaskError(f"dataset: returns {type(part).__name__}; return edge_training.task.Examples")
            shape = tuple(self.task.example_input().shape[1:])
            if part.inputs.dtype not in (np.float32, np.uint8):
                raise TaskError(f"dataset: inputs are {part.inputs.dtype}; make them float32, or uint8 for pixels")
            if not len(part):
                raise TaskError(f"dataset: no training example for rank 0 of {ranks} on {host_name()}; put data there")
            if part.inputs.shape[1:] != shape:
                raise TaskError(
                    f"dataset: an input is {part.inputs.shape[1:]}, example_input is {shape}; make them equal"
                )
            if not np.issubdtype(part.targets.dtype, np.integer):
                raise TaskError(f"dataset: targets are {part.targets.dtype}; make them int64, the number of the class")
            low, high, classes = int(part.targets.min()), int(part.targets.max()), len(self.task.classes)
            if low < 0 or high >= classes:
                raise TaskError(f"dataset: targets go from {low} to {high}, `classes` from 0 to {classes - 1}")
            if not np.isfinite(part.inputs[:BATCH]).all():
                raise TaskError("dataset: inputs hold values that are not finite; fill or drop them")
            return Examples(part.inputs[:BATCH], part.targets[:BATCH].astype(np.int64))
        return None

    def learns(self, model: Any, examples: Examples) -> None:
        """One step forward and back, and what is measured of it."""
        inputs, targets = examples.batch(slice(None))
        model.train()
        outputs = None
        with self.step("model"):
            outputs = model(inputs)
        if outputs is None:
            return
        with self.step("loss"):
            loss = self.task.loss(outputs, targets)
            if not isinstance(loss, torch.Tensor) or loss.dim() != 0 or not loss.requires_grad:
                raise TaskError(
                    "loss: must be a scalar tensor that depends on the outputs; return the batch's mean loss"
                )
            if not math.isfinite(float(loss.detach())):
                raise TaskError(
                    f"loss: is {float(loss.detach())} at the start; scale the inputs, or see to the logarithms"
                )
            loss.backward()
            idle = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
            if idle:
                raise TaskError(f"loss: does not depend on {', '.join(idle)}; use these parameters, or take them out")
        with self.step("metrics"):
            metrics = self.task.metrics(outputs.detach(), targets)
            if not isinstance(metrics, dict) or "accuracy" not in metrics:
                raise TaskError("metrics: must return a dict with `accuracy`")
            wrong = [name for name, value in metrics.items() if not isinstance(value, (int, float))]
            if wrong:
                raise TaskError(f"metrics: {', '.join(wrong)} must be a number, not a tensor; use float(...)")
            if not 0 <= metrics["accuracy"] <= 1:
                raise TaskError(f"metrics: accuracy is {metrics['accuracy']}; give it from 0 to 1")

    def exported(self, model: Any) -> None:
        """The graph that a Predictor will run: it must answer as the model does, for more than the one example, too."""
        with self.step("model"):
            try:
                graph = export.to_onnx(model, self.task.example_input())
            except Exception as error:  # noqa: BLE001  the exporter and the user's code may raise anything
                line = line_of(error, self.path) or self.defined("model")
                self.findings.append(
                    f"{line}: model: cannot be exported to ONNX: {said(error)}; use operations that torch.onnx knows"
                )
                return
            torch.manual_seed(1)
            inputs = torch.rand(2, *self.task.example_input().shape[1:])
            with torch.no_grad():
                expected = model.eval()(inputs).numpy()
            try:
                (answer,) = ReferenceEvaluator(onnx.load_from_string(graph)).run(None, {export.INPUT: inputs.numpy()})
            except NotImplementedError:
                return  # an operation that only the runtime has
            except Exception as error:
                raise TaskError(
                    f"model: exported to ONNX, it fails for two examples: {said(error)}; {BATCH_FIX}"
                ) from error
            if answer.shape != expected.shape or not np.allclose(answer, expected, rtol=1e-3, atol=1e-3):
                raise TaskError(
                    f"model: exported to ONNX, it answers two examples otherwise than in torch; {BATCH_FIX}"
                )


def _notes(model: Any) -> list[str]:
    batch_norms = [name for name, layer in model.named_modules() if "BatchNorm" in type(layer).__name__]
    if not batch_norms:
        return []
    return [
        f"model: {', '.join(batch_norms)} averages over each rank's own batch; GroupNorm serves many devices better"
    ]


def _file_of(task: Task) -> Path:
    return Path(inspect.getsourcefile(type(task)) or "")


def main(arguments: Sequence[str]) -> int:
    """Print the verdict."""
    parser = argparse.ArgumentParser(prog="edge_training.check", description=__doc__.splitlines()[0])
    parser.add_argument("task", help="my_task.py[:Class], a package's folder, package.module:Class or a shipped task")
    parser.add_argument("--ranks", type=int, default=1, help="how many will train: rank 0's part of so many is read")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    given = parser.parse_args(arguments)
    lean_torch.without_compiler()
    verdict = check(given.task, given.ranks)
    if given.json:
        print(json.dumps(asdict(verdict)))
    else:
        for note in verdict.notes:
            print(f"note: {note}")
        for finding in verdict.findings:
            print(finding)
        if not verdict.findings:
            print(
                f"{verdict.task} can train: {verdict.parameters} parameters, inputs of {verdict.input_shape},"
                f" {len(verdict.classes or [])} classes, {verdict.digest or 'part of the image'}"
            )
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
