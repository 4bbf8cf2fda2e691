"""Whether classifiers can be trained on this machine: known before anything is allocated.

Every step needs their parameters, gradients, and what the optimizer keeps beside them; an epoch's end the two
largest layers next to each other, for every example of the validation part.
"""

from collections.abc import Sequence
from itertools import pairwise

from funcnet._errors import ParameterError
from funcnet._memory import excess
from funcnet.train.limits import check_steps
from funcnet.train.models.config import Config

_COPIES = {"sgd": 2, "momentum": 3, "rmsprop": 3, "adam": 4, "adamw": 4}
"""How many numbers an optimizer needs for each parameter: itself, its gradient, and moments."""


def check_size(
    config: Config, features: int, classes: int, training: int, held_out: int, *, nets: int = 1
) -> None:
    """Nothing, if nets for so many features, classes and examples can be trained here together.

    Raises:
        ParameterError: they need more memory than there is, or take more steps than can be counted.

    >>> check_size(Config(), features=64, classes=10, training=1000, held_out=100)
    """
    steps = config.epochs * max(1, training // config.batch_size)
    check_steps(steps, f"epochs is {config.epochs}: {steps} steps")
    if config.net != "mlp":
        return  # `check_run` counts the parameters, and images are evaluated some at a time
    sizes, width = (features, *config.hidden, classes), 8 if config.dtype == "float64" else 4
    pieces = 2 if config.activation == "maxout" else 1
    weights, copies = nets * parameters(sizes, pieces), _COPIES[config.optimizer]
    if too_much := excess(copies * weights * width):
        raise ParameterError(
            f"hidden is {config.hidden}: training {weights:.3g} parameters with {config.optimizer}, which "
            f"takes {copies} numbers for each, {too_much}. Take fewer hidden units or classes."
        )
    values = nets * max(fan_in + fan_out for fan_in, fan_out in pairwise(sizes))
    if too_much := excess(held_out * values * width):
        raise ParameterError(
            f"{config.data}: {held_out} held-out examples with {values} values each, as hidden is "
            f"{config.hidden} and there are {classes} classes: that {too_much}. Take fewer of them."
        )


def parameters(sizes: Sequence[int], pieces: int) -> int:
    """How many parameters a net of layers of these sizes has, with so many pieces in each hidden unit.

    >>> parameters((3072, 100, 10), pieces=1)
    308310
    """
    layers = [(fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes)]
    return pieces * sum(layers[:-1]) + layers[-1]
