"""A bundle, loaded into ONNX Runtime and proven on its own samples."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_training import bundle
from edge_training.bundle import Bundle, BundleError
from edge_training.predictor.inputs import InputError, as_inputs
from edge_training.predictor.settings import Settings

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Model:
    """A verified bundle that answers."""

    def __init__(self, loaded: Bundle, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(loaded.onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class but this
            raise BundleError(f"{loaded.digest}: ONNX Runtime refuses the graph: {error}; export it again") from error
        self.bundle = loaded
        takes = {one.name: one.shape for one in self._session.get_inputs()}
        gives = [one.shape for one in self._session.get_outputs()]
        if len(gives) != 1 or list(takes) != [loaded.manifest.input["name"]]:
            raise BundleError(
                f"{loaded.digest}: its graph takes {', '.join(takes)} and gives {len(gives)} outputs; one of each is"
                f" wanted, {loaded.manifest.input['name']} in; export it again"
            )
        _same_shape(f"{loaded.digest}: the input of its graph", takes.popitem()[1], self.shape)
        _same_shape(f"{loaded.digest}: the output of its graph", gives[0], [len(loaded.manifest.classes)])

    @property
    def shape(self) -> list[int]:
        """The shape of one input."""
        shape: list[int] = self.bundle.manifest.input["shape"]
        return shape

    def probabilities(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, *shape) -> (n, classes): each row sums to 1."""
        (logits,) = self._session.run(None, {self.bundle.manifest.input["name"]: inputs})
        return softmax(logits)

    def predict(self, instances: list[Any]) -> list[dict[str, Any]]:
        """For each instance its class: `label`, `index`, `probability`.

        Raises:
            InputError: an instance does not have the model's shape.
        """
        return self.classify(as_inputs(instances, self.shape))

    def classify(self, inputs: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
        """(n, *shape) -> for each row its class."""
        classes = self.bundle.manifest.classes
        return [
            {"label": classes[index], "index": index, "probability": round(float(row[index]), 6)}
            for row in self.probabilities(inputs)
            for index in [int(row.argmax())]
        ]

    def prove(self, right_share: float) -> None:
        """Answer the bundle's samples as the trained model did, and that share of them rightly.

        Raises:
            BundleError: it cannot answer, an answer differs, or too few are right.
        """
        samples = self.bundle.samples
        try:
            answers = self.predict([sample.input for sample in samples])
        except InputError as error:
            raise BundleError(f"{self.bundle.digest}: its samples do not fit it: {error}; export it again") from error
        except Exception as error:  # ONNX Runtime's, as above
            raise BundleError(f"{self.bundle.digest}: it does not answer: {error}; export it again") from error
        for number, (sample, answer) in enumerate(zip(samples, answers, strict=True)):
            if answer["index"] != sample.predicted:
                raise BundleError(
                    f"{self.bundle.digest}: sample {number} is class {answer['index']} here but was {sample.predicted}"
                    " after training; export the model again, or report this device"
                )
        right = sum(sample.predicted == sample.truth for sample in samples)
        if right < right_share * len(samples):
            raise BundleError(
                f"{self.bundle.digest}: {right} of {len(samples)} held-out samples are right, a share of"
                f" {right_share:g} is wanted; train a better model, or lower EDGE_PREDICTOR_RIGHT_SHARE"
            )


def load(settings: Settings, digest: str) -> Model:
    """The model of this digest, `sha256:<hex>`, verified and proven.

    Raises:
        BundleError: it is missing, damaged, another one, or answers wrongly.
    """
    if not DIGEST.fullmatch(digest):
        raise BundleError(f"{digest!r} is no digest of a model; write sha256: and 64 hexadecimal digits")
    model = Model(bundle.read(settings.models_dir / f"{digest.removeprefix('sha256:')}.tar", digest), settings.threads)
    model.prove(settings.right_share)
    return model


def _same_shape(what: str, found: list[int | str | None], wanted: list[int]) -> None:
    """The first length is the batch's; one that has no number fits any."""
    rest = found[1:]
    fits = [not isinstance(one, int) or one == want for one, want in zip(rest, wanted, strict=False)]
    if len(rest) != len(wanted) or not all(fits):
        said = f"{what} is {' x '.join(map(str, rest))}, manifest.json says {' x '.join(map(str, wanted))}"
        raise BundleError(f"{said}; export it again")


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, classes) -> (n, classes), stable for large logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares
