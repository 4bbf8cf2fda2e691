"""Many steps of training in one call, and which of them was bad.

Many steps are one loop of XLA's, which Python does not enter. XLA for CPUs computes a convolution inside of a
loop ten times slower than outside of one (JAX's issue 12868), so there steps with convolutions are dispatched
one by one.
"""

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Key

from funcnet._errors import GradientError, NonFiniteError, ParameterError, came
from funcnet.backprop import value_and_grad
from funcnet.train.batches import Batches, Seed, as_batches, is_traced
from funcnet.train.gradients import checked, is_zero
from funcnet.train.loss import Loss, Metrics, completed, evaluated, floats, takes_key
from funcnet.train.nonfinite import Broken
from funcnet.train.state import State, Way, is_sound, step_key, taken, way_over


class Task(NamedTuple):
    """What steps depend on beside the State; the keys are those of the steps and of the batches."""

    way: Way
    batches: Batches
    seed: Seed
    keys: tuple[Key[Array, ""], Key[Array, ""]]
    watch: int = 0

    @classmethod
    def of(cls, way: Way, batches: Batches | Callable, seed: Seed, watch: int = 0) -> "Task":
        """With the keys that are made of the seed."""
        return cls(way, as_batches(batches), seed, (step_key(seed), jax.random.key(seed)), watch)


def advance(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batches: Batches | Callable,
    *,
    grad: Callable = value_and_grad,
    seed: Seed = 0,
    mesh: Mesh | None = None,
    reproducible: bool | None = None,
) -> Callable[[State, int], tuple[State, Metrics]]:
    """A function from a state and a number n to the state n steps later, and the metrics of each step.

    Args:
        loss: as for `step`.
        optimizer: as for `step`.
        batches: from `funcnet.train.batches`, or a jittable function of a key.
        grad: as for `step`.
        seed: decides batches and keys.
        mesh: as for `step`.
        reproducible: as for `step`.

    Returns:
        The function; metrics are stacked by step. The state passed in is donated: use what comes back.

    >>> from funcnet.train import init
    >>> draw = lambda key: jax.random.normal(key, (8,)) + 3.0
    >>> go = advance(lambda w, x: jnp.mean((x - w) ** 2), optax.sgd(0.1), draw)
    >>> state, metrics = go(init(jnp.array(0.0), optax.sgd(0.1)), 50)
    >>> metrics["loss"].shape, round(float(state.params))
    ((50,), 3)
    """
    task = Task.of(way_over(mesh, reproducible, loss, optimizer, grad), batches, seed)

    def steps(state: State, n: int) -> tuple[State, Metrics]:
        if not isinstance(state, State) or n < 1:
            raise ParameterError(f"got {came(state)} and {n} steps; expected what init makes, and 1 or more")
        data = task.batches.load(seed, state.step, n)
        if is_traced((state, data, task.keys)):
            parts = task.way, task.batches.take
            state, losses, metrics = _loop(parts, n, None, state, data, task.keys, n)
        else:
            at_once = _at_once(task, state, data, n)
            state, rows = take_steps(task, state, data, int(state.step), n, at_once)
            losses, metrics = jax.tree.map(lambda *x: jnp.concatenate(x), *rows) if rows[1:] else rows[0]
        return state, {"loss": losses, **metrics}

    return steps


def take_chunk(
    task: Task, state: State, data: Any, step: int, count: int
) -> tuple[State, np.ndarray, Metrics, bool]:
    """So many steps on what was loaded for them, of a state that stays, and whether all was finite.

    Losses and metrics come by step, on the host. Steps that are one loop are one program with all that.
    """
    turns = _at_once(task, state, data, task.batches.turns)
    if task.watch or turns == 1:
        after, rows = take_steps(task, _copied(state), data, step, count, turns)
        good = _is_sound(after, _largest([losses for losses, _ in rows]))
    else:
        after, *row, good = _chunk((task.way, task.batches.take), turns, state, data, task.keys, count)
        rows = [row]
    rows, good = jax.device_get((rows, good))
    taken = [slice(some) for _, some in _spans(task.watch, step, step + count, turns)]
    rows = [jax.tree.map(operator.itemgetter(some), row) for some, row in zip(taken, rows, strict=True)]
    losses, metrics = jax.tree.map(lambda *each: np.concatenate(each), *rows) if rows[1:] else rows[0]
    return after, losses, {"loss": losses, **metrics}, bool(good)


def take_steps(
    task: Task, state: State, data: Any, step: int, count: int, most: int
) -> tuple[State, list[Any]]:
    """So many steps of a state that is donated; losses and metrics of those taken at once, `most` at most.

    A watched step in which more is measured than norms is a program of its own.
    """
    rows = []
    for full, some in _spans(task.watch, step, step + count, most):
        parts, turns = (task.way, task.batches.take), 1 if full else most
        state, *row = _jitted_loop(parts, turns, full, state, data, task.keys, some)
        rows.append(row)
    return state, rows


def _spans(watch: int, begin: int, stop: int, most: int) -> Iterator[tuple[bool | None, int]]:
    """How many steps are taken at once, and whether all is measured in them; None if nothing is."""
    while begin < stop:
        full = begin % watch == 0 if watch else None
        count = 1 if full else min(stop - begin, most, watch - begin % watch if watch else most)
        yield full, count
        begin += count


def last_finite(task: Task, state: State, data: Any, step: int, stop: int, losses: np.ndarray) -> State:
    """The state that has no finite next step, of those from a finite one at `step` to `stop`, which is not.

    The program that was run is run again, so its bits are those of the run: to where the first loss is none,
    or the step before has made the parameters so; if it was neither, on halves of them.
    """
    first = step + int(np.argmin(np.isfinite(np.append(losses, np.nan))))
    likely = first - 1, first, first + 1
    while step + 1 < stop:
        middle = next((each for each in likely if step < each < stop), (step + stop) // 2)
        after, _, _, good = take_chunk(task, state, data, step, middle - step)
        if good:
            state, step = after, middle
        else:
            stop = middle
    return state


_copied = jax.jit(lambda state: jax.tree.map(jnp.copy, state))
_is_sound = jax.jit(is_sound)
_largest = jax.jit(lambda losses: jnp.max(jnp.abs(jnp.concatenate(losses))))
"""One loss of many, so that `_is_sound` is compiled once: many arrays take seconds."""


def check_trains(task: Task, before: State, after: State) -> None:
    """Nothing, unless steps have left parameters or moments as they were, all gradients being the constant 0.

    Raises:
        GradientError: the loss does not depend on the parameters, as far as it can be differentiated.
    """
    moments = [  # not keys and counts
        [leaf for leaf in jax.tree.leaves(floats(state.optimizer_state)) if leaf.ndim]
        for state in (before, after)
    ]
    trained = floats(before.params)
    if not (_same(trained, floats(after.params)) or (moments[0] and _same(*moments))):
        return

    def gradients(trained: Any, batch: Any, key: Key[Array, ""]) -> Any:
        def whole(trained: Any, batch: Any, key: Key[Array, ""]) -> Any:
            return evaluated(task.way.loss, completed(trained, before.params), batch, key)

        return checked(task.way.grad(whole, has_aux=True)(trained, batch, key), trained)[1]

    if is_zero(gradients, trained, *_of_step(task, int(before.step))):
        raise GradientError(
            "the loss does not depend on the parameters: all gradients are 0, whatever they are. Expected "
            "one of the params that it is handed, without what has no slope, as argmax, rounding, "
            "comparisons or stop_gradient, between."
        )


def _same(a: Any, b: Any) -> bool:
    """Whether arrays that this process has are equal; the first ones that are not decide."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.is_fully_addressable and np.array_equal(x, y) for x, y in pairs)


def _of_step(task: Task, step: int) -> tuple[Any, Key[Array, ""]]:
    """The batch and the key of a step."""
    return task.batches(step, task.seed), jax.random.fold_in(task.keys[0], step)


def broken(task: Task, state: State) -> NonFiniteError:
    """The error that says why a state has no finite next step."""
    step = int(state.step)
    batch, key = _of_step(task, step)
    loss, optimizer, grad, *_ = task.way
    rows = task.batches.rows(task.seed, step).tolist() if task.batches.rows else ()
    return Broken(loss, optimizer, state, batch, key if takes_key(loss) else None, grad, rows).why()


def _loop(
    parts: tuple, turns: int, full: bool | None, state: State, data: Any, keys: Any, count: Any
) -> tuple[State, Array, Metrics]:
    """So many steps, of at most so many turns, in a loop; one turn is no loop."""
    way, take = parts

    def one(state: State) -> tuple[State, Array, Metrics]:
        return taken(way, state, take(data, keys[1], state.step), keys[0], full)

    state = way.devices.stay(state)
    if turns == 1:
        state, *measured = one(state)
        return state, *jax.tree.map(lambda x: x[None], measured)
    _, *types = jax.eval_shape(one, state)
    rows = jax.tree.map(lambda x: jnp.zeros((turns, *x.shape), x.dtype), types)

    def turn(k: Array, both: tuple[State, list]) -> tuple[State, list]:
        state, *measured = one(both[0])
        return state, jax.tree.map(lambda row, x: row.at[k].set(x), both[1], measured)

    state, rows = lax.fori_loop(0, count, turn, (state, rows))
    return way.devices.stay(state), *rows


_jitted_loop = jax.jit(_loop, static_argnums=(0, 1, 2), donate_argnums=3)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _chunk(parts: tuple, turns: int, *given: Any) -> tuple[State, Array, Metrics, Bool[Array, ""]]:
    """`_loop` of a state that stays, and whether all is finite."""
    after, losses, metrics = _loop(parts, turns, None, *given)
    return after, losses, metrics, is_sound(after, losses)


def _at_once(task: Task, state: State, data: Any, most: int) -> int:
    """How many steps are one loop: so many, or one."""
    leaves, structure = jax.tree.flatten((state, data))
    types = ((leaf.aval, leaf.sharding) for leaf in leaves)
    return 1 if _slow_in_a_loop((task.way, task.batches.take), structure, *types) else most


@functools.lru_cache(64)
def _slow_in_a_loop(parts: tuple, structure: Any, *arrays: tuple[Any, jax.sharding.Sharding]) -> bool:
    """Whether steps on arrays of such types, which are there, have convolutions and run on a CPU."""
    platforms = {device.platform for _, sharding in arrays for device in sharding.device_set}
    types = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=place) for aval, place in arrays]
    keys = jax.random.key(0), jax.random.key(0)  # the aval of a key takes as long as those of 50 arrays
    program = _jitted_loop.trace(parts, 1, None, *structure.unflatten(types), keys, 1).jaxpr
    return platforms == {"cpu"} and "conv_general_dilated" in str(program)
