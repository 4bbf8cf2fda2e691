"""A finished run: the net, and all that is needed to use it on raw inputs."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from funcnet import nn
from funcnet._errors import CheckpointError, ShapeError
from funcnet._types import Params
from funcnet.data import Split, Standardization
from funcnet.train import checkpoint
from funcnet.train.config import Config, read_config
from funcnet.train.log import EpochMetrics, read_metrics
from funcnet.train.state import Metrics, evaluate, in_dtype, init, precision

WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True)
class Run:
    """A trained net.

    Attributes:
        config: its settings.
        params: {"layer1": {"w": [in, out], "b": [out]}, …}.
        standardization: the map from raw inputs to those the net was trained on.
        classes: the name of each class.
        image_shape: the shape of an input, if it is an image.
        history: one row an epoch.
    """

    config: Config
    params: Params
    standardization: Standardization
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None
    history: tuple[EpochMetrics, ...]

    def scores(self, x: Float[np.ndarray, "examples features"]) -> Float[np.ndarray, "examples classes"]:
        """The class scores of raw inputs.

        Raises:
            ShapeError: the inputs have another number of features than the training data.
        """
        with precision(self.config):
            params, inputs = in_dtype(self.config, self.params, self._standardized(x))
            scores = nn.mlp(params, inputs, activation=nn.ACTIVATIONS[self.config.activation])
            return np.asarray(scores.astype(np.promote_types(scores.dtype, np.float32)))

    def predict(self, x: Float[np.ndarray, "examples features"]) -> Integer[np.ndarray, " examples"]:
        """The label of the highest score for raw inputs; see `scores`."""
        return self.scores(x).argmax(axis=-1)

    def evaluate(self, split: Split) -> Metrics:
        """Data loss and accuracy on a part of a data set, in raw units; see `scores`."""
        with precision(self.config):
            return evaluate(self.config, self.params, self._standardized(split.x), split.y)

    def _standardized(self, x: np.ndarray) -> np.ndarray:
        features = len(self.standardization.mean)
        if x.ndim != 2 or x.shape[1] != features:
            raise ShapeError(
                f"the inputs have shape {list(x.shape)}; this net takes [examples, {features}], as in its "
                f"data set {self.config.data}"
            )
        return self.standardization.apply(x)


def write_weights(folder: Path, run: Run) -> None:
    """Writes weights.safetensors: parameters and standardization, with the names of the classes."""
    tree = {**run.params, "input": run.standardization._asdict()}
    checkpoint.save(folder / WEIGHTS_FILE, tree, {"classes": run.classes, "image_shape": run.image_shape})


def load_run(folder: str | Path) -> Run:
    """The finished run in a folder.

    Raises:
        CheckpointError: the folder holds no run, an unfinished or a damaged one.
    """
    folder = Path(folder)
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise CheckpointError(f"the run in {folder} has not finished: it has no {WEIGHTS_FILE}. Resume it.")
    arrays, metadata = checkpoint.read(path)
    features, classes = len(arrays["input/mean"]), len(metadata["classes"])
    with precision(config):
        params = jax.eval_shape(lambda: init(config, features, classes).params)
    mean = std = jax.ShapeDtypeStruct((features,), np.float32)
    tree = checkpoint.arrange(arrays, {**params, "input": {"mean": mean, "std": std}}, path)
    standardization = Standardization(**tree.pop("input"))
    with precision(config):
        params = jax.tree.map(jnp.asarray, tree)
    image_shape = metadata["image_shape"] and tuple(metadata["image_shape"])
    return Run(config, params, standardization, tuple(metadata["classes"]), image_shape, read_metrics(folder))
