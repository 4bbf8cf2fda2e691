"""Update rules and step sizes, from optax.

Sources: momentum, Polyak 1964; RMSProp, Tieleman and Hinton 2012; Adam, Kingma and Ba 2015; AdamW and
the cosine schedule, Loshchilov and Hutter 2019 and 2017; warm-up, Goyal et al. 2017.
"""

from collections.abc import Callable

import jax
import optax

from funcnet.train.config import Config

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda rate, steps: optax.constant_schedule(rate),
    "linear": lambda rate, steps: optax.linear_schedule(rate, 0.0, steps),
    "cosine": lambda rate, steps: optax.cosine_decay_schedule(rate, steps),
    "warmup_cosine": lambda rate, steps: optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps),
    "exponential": lambda rate, steps: optax.exponential_decay(rate, steps, decay_rate=0.01),
}

OPTIMIZERS: dict[str, Callable[[optax.Schedule, float], optax.GradientTransformation]] = {
    "sgd": lambda rate, decay: optax.sgd(rate),
    "momentum": lambda rate, decay: optax.sgd(rate, momentum=0.9),
    "adam": lambda rate, decay: optax.adam(rate),
    "adamw": lambda rate, decay: optax.adamw(rate, weight_decay=decay, mask=_is_weight),
    "rmsprop": lambda rate, decay: optax.rmsprop(rate),
}


def schedule(config: Config, steps: int) -> optax.Schedule:
    """The learning rate as a function of the step number, for a run of so many steps.

    >>> rate = schedule(Config(learning_rate=0.5, schedule="linear"), 10)
    >>> float(rate(0)), float(rate(5))
    (0.5, 0.25)
    """
    return SCHEDULES[config.schedule](config.rate, steps)


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """The update rule of a run of so many steps."""
    return OPTIMIZERS[config.optimizer](schedule(config, steps), 2 * config.regularization)


def _is_weight(params: dict) -> dict:
    """True at the weights, False at the biases: what AdamW lets decay."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "w", params)
