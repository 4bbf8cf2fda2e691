"""What decides a training run: the same configuration on the same data gives the same parameters.

A configuration is a frozen, hashable value, so it is a static argument of the jitted steps. It is
kept beside the weights as config.json. Nothing here needs JAX.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from funcnet._errors import CheckpointError, ParameterError
from funcnet.train.settings import as_object, read_as


@dataclass(frozen=True)
class Config:
    """The settings of a training run.

    Raises:
        ParameterError: a setting outside its domain; the message names it and says what is allowed.

    >>> Config(hidden=(512, 256), optimizer="momentum").hidden
    (512, 256)
    """

    data: str = "digits"
    """Data set of funcnet.data.load: digits, idx:DIR, cifar10:PATH, csv:FILE, npz:FILE, openml:NAME, …"""

    net: Literal["mlp", "convnet", "alexnet", "randwired", "ntm", "ntm_lstm"] = "mlp"
    """What is trained, a function of funcnet.nn: an mlp; a net of images; or a Neural Turing Machine with a
    feed-forward or an LSTM controller, whose data are copy, repeat_copy or associative_recall."""

    hidden: tuple[int, ...] = (100,)
    """Units of each hidden layer of an mlp, none makes a linear classifier; one number for the other nets:
    convnet's layer1, alexnet's fc6 and fc7, randwired's channels before the scores, ntm's controller."""

    channels: tuple[int, ...] = (32, 64)
    """Outputs of each convolution of convnet; of randwired only the first counts, those of its stage1."""

    wiring: str = "ws:32:4:0.75"
    """Random graphs of randwired's three stages, nodes and parameters: ws:N:K:P, er:N:P or ba:N:M."""

    heads: int = 1
    """Read heads of ntm, and as many write heads."""

    activation: Literal[
        "relu", "leaky_relu", "sigmoid", "tanh", "elu", "maxout", "softplus", "silu", "gelu", "none"
    ] = "relu"
    """Activation after each hidden layer of an mlp; maxout has two pieces, none leaves a linear map."""

    init: Literal["he", "glorot", "lecun", "normal"] = "he"
    """Initial weights of mlp and convnet: He et al. 2015, Glorot and Bengio 2010, LeCun et al. 1998, or
    0.01 · normal."""

    loss: Literal["softmax", "svm", "mse", "logistic"] = "softmax"
    """Data loss, averaged over the examples of a batch."""

    regularizer: Literal["l2", "l1", "elastic_net"] = "l2"
    """R in total loss = data loss + λ Σ R(w); the sum goes over the weight matrices, not the biases."""

    regularization: float = 3e-4
    """λ; there is no ½ in R, so the gradient of the L2 penalty is 2λw."""

    optimizer: Literal["sgd", "momentum", "adam", "adamw", "rmsprop"] = "momentum"
    """Update rule; momentum is 0.9, adamw subtracts 2λw from the weights themselves (l2 only)."""

    learning_rate: float | None = None
    """Step size before the schedule; if none is given, 0.05 for sgd and momentum, 0.001 for the others."""

    schedule: Literal["constant", "linear", "cosine", "warmup_cosine", "exponential"] = "warmup_cosine"
    """Step size over the run: linear and cosine end at 0, warmup takes 5 %, exponential ends at 1 %."""

    batch_size: int = 64
    """Examples a step; no more than there are. What does not fill a last batch waits for the next epoch."""

    epochs: int = 30
    """Passes over the training part; for ntm, a thousand steps each."""

    dtype: Literal["float32", "float16", "bfloat16", "float64"] = "float32"
    """What forward and backward compute in; parameters are kept in float32 at least."""

    seed: int = 0
    """Decides initial weights and batches, and through funcnet.data.load how the data are split."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if get_origin(field.type) is Literal:
                allowed = get_args(field.type)
                valid, expected = value in allowed, f"one of {', '.join(allowed)}"
            else:
                in_domain, expected = _DOMAINS[field.name]
                valid = in_domain(value)
            if not valid:
                raise ParameterError(f"{field.name} is {value!r}; expected {expected}")
        if self.optimizer == "adamw" and self.regularizer != "l2":
            raise ParameterError(
                f"regularizer is {self.regularizer!r}; expected 'l2' with optimizer 'adamw', whose decoupled "
                f"decay is that of L2. Take optimizer 'adam' for other penalties."
            )
        if self.net != "mlp" and (len(self.hidden) != 1 or self.activation != "relu"):
            raise ParameterError(
                f"net is {self.net!r} with hidden {self.hidden} and activation {self.activation!r}; expected "
                f"one number and 'relu'. Take net 'mlp' for other depths and activations."
            )

    @property
    def rate(self) -> float:
        """The learning rate, the optimizer's usual one if none is given."""
        usual = 0.05 if self.optimizer in ("sgd", "momentum") else 0.001
        return usual if self.learning_rate is None else self.learning_rate

    def to_json(self) -> str:
        """The configuration as JSON, one field a line."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """The configuration that `to_json` wrote.

        Raises:
            CheckpointError: the text is no JSON, or its fields are not those of a configuration.
        """
        values = as_object(text)
        later = {field.name: field.default for field in fields(cls) if field.name in _LATER}
        values = later | values
        found, expected = set(values), {field.name for field in fields(cls)}
        if found != expected:
            raise CheckpointError(
                f"the configuration has other fields than expected; unknown: {_listed(found - expected)}; "
                f"missing: {_listed(expected - found)}"
            )
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        try:
            return cls(**values)
        except ParameterError as error:
            raise CheckpointError(f"the configuration is damaged: {error}") from error


_LATER = {"net", "channels", "wiring", "heads"}
"""Settings that the first runs had not: they trained an mlp."""


def read_config(folder: str | Path) -> Config:
    """The configuration of the run in a folder.

    Raises:
        CheckpointError: there is no run, or its config.json is damaged.
    """
    return read_as(Config.from_json, folder)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_DOMAINS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "data": (lambda value: isinstance(value, str) and value != "", "a data set such as 'digits'"),
    "hidden": (
        lambda value: isinstance(value, tuple) and all(map(_is_count, value)),
        "a tuple of whole numbers, 1 or more; () for a linear classifier",
    ),
    "channels": (
        lambda value: isinstance(value, tuple) and len(value) > 0 and all(map(_is_count, value)),
        "a tuple of whole numbers, 1 or more",
    ),
    "wiring": (
        lambda value: isinstance(value, str) and re.fullmatch(r"(ws|er|ba):\d+(:[\d.]+)+", value) is not None,
        "ws:N:K:P, er:N:P or ba:N:M, as 'ws:32:4:0.75'",
    ),
    "heads": (_is_count, "a whole number, 1 or more"),
    "regularization": (lambda value: _is_number(value) and value >= 0, "a number, 0 or more"),
    "learning_rate": (lambda value: value is None or (_is_number(value) and value > 0), "a number above 0"),
    "batch_size": (_is_count, "a whole number, 1 or more"),
    "epochs": (_is_count, "a whole number, 1 or more"),
    "seed": (lambda value: type(value) is int and 0 <= value < 2**32, "a whole number from 0 to 2³² − 1"),
}
