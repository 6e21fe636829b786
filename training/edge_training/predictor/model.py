"""A bundle, loaded into ONNX Runtime and proven on its own samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_training import bundle
from edge_training.bundle import Bundle, BundleError
from edge_training.predictor.inputs import as_inputs
from edge_training.predictor.settings import Settings


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
            BundleError: an answer differs, or too few are right.
        """
        samples = self.bundle.samples
        for number, (sample, answer) in enumerate(
            zip(samples, self.predict([sample.input for sample in samples]), strict=True)
        ):
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


def load(settings: Settings) -> Model:
    """The model that the settings name, verified and proven.

    Raises:
        BundleError: it is missing, damaged, another one, or answers wrongly.
    """
    model = Model(bundle.read(settings.model_file, settings.model_digest), settings.threads)
    model.prove(settings.right_share)
    return model


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, classes) -> (n, classes), stable for large logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares
