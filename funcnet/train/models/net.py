"""The classifier of the lecture, as functions of a configuration and parameters, and once it is trained.

Forward and backward compute in `config.dtype`. Parameters and the optimizer's state are kept in float32 at
least, since an update is often smaller than the last digit of a half-precision weight (Micikevicius et al.
2018). For dtype float64, call the functions under `precision(config)`; the methods of a `Net` do.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key

from funcnet import nn
from funcnet._errors import DataError, ParameterError, ShapeError
from funcnet._types import Params
from funcnet.data import Split, Standardization
from funcnet.train import checkpoint
from funcnet.train.models.config import Config, read_config
from funcnet.train.models.nets import NETS, STATISTICS, example_shape
from funcnet.train.program import export
from funcnet.train.run import Run, finished, is_file, read_metrics
from funcnet.train.settings import read_settings

Inputs = Float[Array | np.ndarray, "examples *shape"]
Labels = Integer[Array | np.ndarray, " examples"]


IMAGES = 500
"""How many are evaluated at once: their values are all in memory."""


class Metrics(NamedTuple):
    """Mean data loss, without the penalty, and the part of the examples that are classified right."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def initial(config: Config, shape: tuple[int, ...], classes: int, key: Key[Array, ""]) -> Params:
    """The parameters before the first step, by the key of the seed; see `example_shape`.

    >>> initial(Config(hidden=(5,)), (4,), 3, jax.random.key(0))["layer2"]["w"].shape
    (5, 3)
    """
    key, _ = jax.random.split(key)
    return NETS[config.net].init(config, shape, classes, key)


def forward(
    config: Config, params: Params, x: Inputs, key: Key[Array, ""] | None = None
) -> tuple[Float[Array, "examples classes"], Mapping[str, Any]]:
    """The class scores of standardized inputs, in the dtype of the configuration, and what is kept.

    Statistics stay in the dtype that they are kept in. Without a key the net is as after training.
    """
    trained = {name: p for name, p in params.items() if name != STATISTICS}
    trained, inputs = jax.tree.map(lambda p: jnp.asarray(p, config.dtype), (trained, x))
    return NETS[config.net].scores(config, {**params, **trained}, inputs, key)


@functools.partial(jax.jit, static_argnums=0)
def scores(config: Config, params: Params, x: Inputs) -> Float[Array, "examples classes"]:
    """The class scores of standardized inputs, in the dtype of the configuration."""
    return forward(config, params, x)[0]


def metrics(config: Config, scores: Float[Array, "examples classes"], y: Labels) -> Metrics:
    """The metrics of scores; the loss is in float64 if they are."""
    loss = jnp.mean(nn.LOSSES[config.loss](scores, y))
    return Metrics(loss, jnp.mean(jnp.argmax(scores, axis=-1) == y, dtype=jnp.float32))


@functools.partial(jax.jit, static_argnums=0)
def evaluate(config: Config, params: Params, x: Inputs, y: Labels) -> Metrics:
    """The metrics of a net on a batch or a part of the data; the loss is in float64 if the net is."""
    return metrics(config, scores(config, params, x), y)


def evaluate_in_chunks(config: Config, params: Params, x: Inputs, y: Labels) -> Metrics:
    """What `evaluate` gives, with the values of only so many images at once in memory."""
    parts = _chunks(config, len(y))
    shares = [(part.stop - part.start) / len(y) for part in parts]
    each = [evaluate(config, params, x[part], y[part]) for part in parts]
    return jax.tree.map(lambda *values: sum(map(operator.mul, shares, values)), *each)


def _chunks(config: Config, examples: int) -> list[slice]:
    """All examples at once for an mlp, so many images at a time for the other nets."""
    size = examples if config.net == "mlp" else IMAGES
    return [slice(begin, min(begin + size, examples)) for begin in range(0, max(1, examples), max(1, size))]


def check_labels(labels: Labels, classes: Sequence[str]) -> None:
    """Nothing, if all labels are classes.

    Raises:
        DataError: some are not.
    """
    wrong = labels[(labels < 0) | (labels >= len(classes))]
    if wrong.size:
        raise DataError(
            f"{wrong.size} of {labels.size} labels are no class, the first is {wrong[0]}; expected 0 to "
            f"{len(classes) - 1} for the {len(classes)} classes"
        )


def precision(config: Config) -> AbstractContextManager:
    """Float64 switched on for a block, if the configuration computes in it."""
    return jax.enable_x64(True) if config.dtype == "float64" else nullcontext()


@dataclass(frozen=True, kw_only=True, repr=False)
class Net(Run):
    """A trained net.

    Attributes:
        params: of the net that the settings name; an mlp has {"layer1": {"w": [in, out], "b": [out]}, …}.
        config: its settings.
        standardization: the map from raw inputs to those the net was trained on.
        classes: the name of each class.
        image_shape: the shape of an input, if it is an image.
    """

    config: Config
    standardization: Standardization
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None

    def scores(self, x: Float[np.ndarray, "examples features"]) -> Float[np.ndarray, "examples classes"]:
        """The class scores of raw inputs.

        Raises:
            ShapeError: the inputs have another number of features than the training data.
        """
        with precision(self.config):
            x = self._standardized(x)
            parts = [scores(self.config, self.params, x[part]) for part in _chunks(self.config, len(x))]
            s = jnp.concatenate(parts)
            return np.asarray(s.astype(np.promote_types(s.dtype, np.float32)))

    def predict(self, x: Float[np.ndarray, "examples features"]) -> Integer[np.ndarray, " examples"]:
        """The label of the highest score for raw inputs; see `scores`."""
        return self.scores(x).argmax(axis=-1)

    def evaluate(self, split: Split) -> Metrics:
        """Data loss and accuracy on a part of a data set, in raw units; see `scores`.

        Raises:
            DataError: a label is none of the classes; so do `top` and `confusion`.
        """
        check_labels(split.y, self.classes)
        with precision(self.config):
            return evaluate_in_chunks(self.config, self.params, self._standardized(split.x), split.y)

    def top(self, split: Split, k: int) -> float:
        """The part of the examples whose class is among those of the k highest scores; see `scores`.

        Raises:
            ParameterError: k is below 1 or above the number of classes.
        """
        if not 1 <= k <= len(self.classes):
            raise ParameterError(f"k is {k}; expected 1 to {len(self.classes)}, the number of classes")
        check_labels(split.y, self.classes)
        s = self.scores(split.x)
        best = np.argsort(-s, axis=-1, kind="stable")[:, :k]  # of equal scores the first, as argmax takes it
        return float(np.mean((best == split.y[:, None]).any(axis=-1)))

    def confusion(self, split: Split) -> Integer[np.ndarray, "classes classes"]:
        """How many examples of each class, by row, were given to each class, by column; see `scores`."""
        check_labels(split.y, self.classes)
        table = np.zeros((len(self.classes),) * 2, int)
        np.add.at(table, (split.y, self.predict(split.x)), 1)
        return table

    def save(self, path: str | Path) -> None:
        """Writes the parameters, the standardization and the names of the classes; see `Run.save`."""
        tree = {**self.params, "input": self.standardization._asdict()}
        checkpoint.save(path, tree, {"classes": self.classes, "image_shape": self.image_shape})

    def export(self, folder: str | Path) -> None:
        """Writes the net as a program from raw inputs to scores, which runs without funcnet.

        Raises:
            WriteError: the folder has files already, or cannot be written.
            MissingPackageError: flatbuffers is not installed.
        """
        mean, std = self.standardization

        def of_raw(x: Array) -> Array:
            return scores(self.config, self.params, ((x - mean) / std).reshape(-1, *self._shape))

        with precision(self.config):
            export(of_raw, mean[None], folder)

    def _standardized(self, x: np.ndarray) -> np.ndarray:
        features = len(self.standardization.mean)
        if x.ndim != 2 or x.shape[1] != features:
            raise ShapeError(
                f"the inputs have shape {list(x.shape)}; this net takes [examples, {features}], as in its "
                f"data set {self.config.data}"
            )
        return self.standardization.apply(x).reshape(-1, *self._shape)

    @property
    def _shape(self) -> tuple[int, ...]:
        return example_shape(self.config, len(self.standardization.mean), self.image_shape)


def load_run(folder: str | Path, like: Any = None) -> Any:
    """The finished run in a folder: a `Net` if `fit(config, dataset)` trained it, else a `Run`.

    Args:
        folder: where the run was written, or the file in which `Run.save` has put parameters.
        like: parameters of the structure that was trained, arrays or shapes; without them a `Run` has nested
            dictionaries of the arrays' paths, which is what flax's linen and haiku have.

    Raises:
        CheckpointError: the folder holds no run, an unfinished or a damaged one, or one of other parameters.
    """
    folder = Path(folder)
    if not is_file(folder):
        read_settings(folder)
    path = finished(folder)
    arrays, metadata = checkpoint.read(path)
    if "classes" not in metadata:
        if like is None:
            params = checkpoint.nested(arrays, metadata.get("paths"))
        else:
            numbers = np.ndarray, np.generic, int, float, complex  # which JAX may have in another precision
            like = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, numbers) else x, like)
            params = checkpoint.arrange(arrays, like, path)
        return Run(jax.tree.map(jnp.asarray, params), () if is_file(folder) else read_metrics(folder))
    config, features, classes = read_config(folder), len(arrays["input/mean"]), len(metadata["classes"])
    image_shape = metadata["image_shape"] and tuple(metadata["image_shape"])
    shape = example_shape(config, features, image_shape)
    with precision(config):
        shapes = jax.eval_shape(lambda: initial(config, shape, classes, jax.random.key(0)))
        mean = std = jax.ShapeDtypeStruct((features,), np.float32)
        tree = checkpoint.arrange(arrays, {**shapes, "input": {"mean": mean, "std": std}}, path)
        standardization = Standardization(**tree.pop("input"))
        return Net(
            params=jax.tree.map(jnp.asarray, tree),
            history=read_metrics(folder),
            config=config,
            standardization=standardization,
            classes=tuple(metadata["classes"]),
            image_shape=image_shape,
        )
