"""Where a run broke: the first gate whose output is infinite or NaN.

`funcnet.train.state.advance` takes no update under a loss that is not finite, and the batch of a step
can be drawn again, so the failing forward pass can be repeated gate by gate. If the state itself is
broken, an overflowing gradient broke it one step earlier, under a loss that was still finite.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from funcnet import nn
from funcnet._errors import NonFiniteError
from funcnet.train.checkpoint import named_leaves
from funcnet.train.config import Config
from funcnet.train.optimizers import schedule
from funcnet.train.state import Inputs, Labels, State, batch, in_dtype, order, penalty, steps_per_epoch


@jax.jit
def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether no entry of a tree of arrays is infinite or NaN."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def explain(config: Config, state: State, x: Inputs, y: Labels) -> NonFiniteError:
    """The error that says why a state cannot take its next step on the training part x, y."""
    step = int(state.step)
    broken = _first_non_finite(named_leaves(state))
    if broken:
        step -= 1
        what = f"the update of step {step} made {broken} infinite or NaN, though the step's loss was finite"
    else:
        broken = _first_non_finite(dict(_forward(config, state, x, y))) or "the total loss"
        what = f"at step {step} {broken} is infinite or NaN"
    steps = config.epochs * steps_per_epoch(config, len(x))
    rate = float(jnp.asarray(schedule(config, steps)(step)))
    return NonFiniteError(
        f"{what}. The learning rate was {rate:.3g} there: lower learning_rate (it is "
        f"{config.rate:g}){_wider(config)}, and look for extreme values in the data."
    )


def _forward(config: Config, state: State, x: Inputs, y: Labels) -> Iterator[tuple[str, Array]]:
    """What the state's next step computes, in order and with its names."""
    step = int(state.step)
    rows = batch(config, step, order(config.seed, len(x), step // steps_per_epoch(config, len(x))))
    params, inputs = in_dtype(config, state.params, x[rows])
    outputs = nn.mlp_outputs(params, inputs, activation=nn.ACTIVATIONS[config.activation])
    yield "the input", inputs
    yield from ((f"the output of {gate}", output) for gate, output in outputs.items())
    losses = nn.LOSSES[config.loss](list(outputs.values())[-1], jnp.asarray(y)[rows])
    yield f"the {config.loss} loss", jnp.mean(losses)
    yield f"the {config.regularizer} penalty", jnp.asarray(penalty(config, state.params))


def _first_non_finite(arrays: dict[str, Any]) -> str | None:
    return next((name for name, array in arrays.items() if not jnp.all(jnp.isfinite(array))), None)


def _wider(config: Config) -> str:
    return "" if config.dtype in ("float32", "float64") else ", or set dtype to float32"
