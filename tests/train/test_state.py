"""Steps of any loss: one by hand, many as many singles, under jit and vmap, and nothing silent."""

import functools
import inspect
from types import SimpleNamespace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet._errors import GradientError, ParameterError
from funcnet.backprop import value_and_grad
from funcnet.train import Run, advance, init, procedural, step
from funcnet.train.batches import in_memory
from funcnet.train.state import step_key

W = {"w": np.float32([1, 2]), "b": np.float32(0.5)}
X = np.float32([[1, 0], [0, 1], [2, 1]])
Y = np.float32([1, 2, 3])
ADAM = optax.adam(0.1)


def squares(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), a, b)


@pytest.mark.parametrize("make", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_one_step_by_hand(make):
    """w ← w − 0.1 · 2 xᵀ(xw + b − y) / 3."""
    optimizer = optax.sgd(0.1)
    state, metrics = make(step(squares, optimizer))(init(W, optimizer), (X, Y))
    error = X @ W["w"] + W["b"] - Y
    np.testing.assert_allclose(state.params["w"], W["w"] - 0.1 * 2 * X.T @ error / 3, rtol=1e-6)
    np.testing.assert_allclose(state.params["b"], W["b"] - 0.1 * 2 * error.sum() / 3, rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], np.mean(error**2), rtol=1e-6)
    assert [*metrics] == ["loss"]
    assert state.step == 1


def test_steps_on_batches_of_any_size_are_taken_on_all_their_rows():
    """A row beyond some size, or a schedule as long as a batch, would go unseen."""
    optimizer = optax.sgd(optax.linear_schedule(0.1, 0.0, 1000))
    for rows in (1, 2, 3):
        state, _ = step(squares, optimizer)(init(W, optimizer), (X[:rows], Y[:rows]))
        gradient = jax.grad(squares)(W, (X[:rows], Y[:rows]))
        assert_close(state.params, jax.tree.map(lambda p, g: p - 0.1 * g, W, gradient))


def test_the_engine_is_exchanged_for_jax_s():
    ours, theirs = (
        step(squares, ADAM, grad=grad)(init(W, ADAM), (X, Y)) for grad in (jax.value_and_grad, counted)
    )
    assert_equal(ours, theirs)
    assert counted.calls == 1


def counted(*args, **kwargs):
    counted.calls = getattr(counted, "calls", 0) + 1
    return jax.value_and_grad(*args, **kwargs)


def test_many_steps_are_as_many_single_ones():
    """Across two ends of an epoch of three steps; a loop is compiled otherwise, they differ by rounding."""
    batches = in_memory((np.tile(X, (4, 1)), np.tile(Y, 4)), 4)
    together, metrics = advance(squares, ADAM, batches, seed=7)(init(W, ADAM), 8)
    alone, losses = init(W, ADAM), []
    for s in range(8):
        alone, metric = step(squares, ADAM, seed=7)(alone, batches(s, seed=7))
        losses.append(metric["loss"])
    assert together.step == alone.step == 8
    assert_close(together, alone)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)


def drawn(key):
    x = jax.random.normal(key, (8, 2))
    return x, x @ jnp.array([3.0, -1.0])


@pytest.mark.parametrize("batches", [procedural(drawn), in_memory((X, Y), 1)], ids=["drawn", "rows"])
def test_advance_under_jit_and_vmap(batches):
    """Over two starting points, one at step 0 and one at step 2: each is what it is alone."""
    go = functools.partial(advance(squares, ADAM, batches), n=5)
    later, other = go(init(W, ADAM), n=2)[0], init(jax.tree.map(lambda p: 2 * p, W), ADAM)
    together = jax.jit(jax.vmap(go))(jax.tree.map(lambda *each: jnp.stack(each), later, other))
    assert_close(together, jax.tree.map(lambda *each: jnp.stack(each), go(later), go(other)))


def test_a_state_of_no_start_keeps_what_it_was_made_of():
    """States are donated: neither the caller's arrays nor two entries of one state may share a buffer."""
    params = {"w": jnp.ones(2), "b": jnp.float32(0)}
    averaged = optax.chain(optax.sgd(0.1), optax.contrib.schedule_free_sgd(0.1, warmup_steps=2))
    state = init(params, averaged)
    for _ in range(2):
        state, _ = advance(squares, averaged, in_memory((X, Y), 3))(state, 2)
    assert state.step == 4
    np.testing.assert_array_equal(params["w"], [1, 1])


def test_a_step_whose_loss_is_not_finite_changes_nothing():
    """The third batch has an infinity: the steps before it are taken, that one and those after it are not."""
    x, y = np.ones((6, 2), np.float32), np.ones(6, np.float32)
    batches = in_memory((x, y), 1)
    bad = [int(in_memory(np.arange(6), 1)(s)[0]) for s in range(6)].index(2)
    x[2] = np.inf
    broken, metrics = advance(squares, ADAM, in_memory((x, y), 1))(init(W, ADAM), 6)
    whole, _ = advance(squares, ADAM, batches)(init(W, ADAM), max(bad, 1))
    assert broken.step == bad > 0
    assert_close(broken, whole)
    np.testing.assert_array_equal(np.isfinite(metrics["loss"]), np.arange(6) < bad)


def test_a_loss_that_asks_for_a_key_gets_another_at_each_step():
    def noisy(w, batch, key):
        return jnp.sum(w * 0.0), {"noise": jax.random.normal(key)}

    def noise(seed, n):
        return advance(noisy, ADAM, drawn, seed=seed)(init(np.zeros(2, np.float32), ADAM), n)[1]["noise"]

    assert len({*map(float, [*noise(0, 4), *noise(1, 4)])}) == 8
    np.testing.assert_array_equal(noise(0, 4)[:3], noise(0, 3))
    expected = [jax.random.normal(jax.random.fold_in(step_key(0), s)) for s in range(4)]
    np.testing.assert_array_equal(noise(0, 4), expected)


def test_what_a_loss_keeps_is_set_after_the_update():
    """A running mean of the inputs, beside a weight; the decay of AdamW does not touch it."""
    optimizer = optax.adamw(0.1, weight_decay=0.5)

    def loss(params, x):
        mean = 0.9 * params["mean"] + 0.1 * jnp.mean(x)
        return jnp.mean((params["w"] * x) ** 2), {"size": jnp.shape(x)[0]}, {"mean": mean}

    params = {"w": jnp.float32(1), "mean": jnp.float32(0)}
    state, metrics = step(loss, optimizer)(init(params, optimizer), X[:, 0])
    np.testing.assert_allclose(state.params["mean"], 0.1, rtol=1e-6)
    assert state.params["w"] < 1
    assert metrics["size"] == 3


class Model(NamedTuple):
    w: Any
    seen: Any


@pytest.mark.parametrize("kind", [Model, lambda w, seen: {"w": w, "seen": seen}], ids=["tuple", "dictionary"])
def test_what_is_kept_may_be_no_floats(kind):
    """A count and a random key, which no optimizer sees: steps, and a key that was split as often."""

    def part(params, name):
        return params[name] if isinstance(params, dict) else getattr(params, name)

    def loss(params, x):
        count, key = part(params, "seen")["count"], part(params, "seen")["key"]
        kept = {"count": count + 1, "key": jax.random.split(key)[0]}
        return jnp.mean((x @ part(params, "w")) ** 2), {}, {"seen": kept}

    params = kind(W["w"], {"count": np.uint32(3), "key": jax.random.key(1)})
    state, _ = advance(loss, ADAM, in_memory(X, 2))(init(params, ADAM), 2)
    assert type(state.params) is type(params)
    seen, key = part(state.params, "seen"), jax.random.key(1)
    assert seen["count"] == 5
    assert seen["count"].dtype == np.uint32
    for _ in range(2):
        key = jax.random.split(key)[0]
    np.testing.assert_array_equal(jax.random.key_data(seen["key"]), jax.random.key_data(key))
    alone, _ = advance(lambda w, x: jnp.mean((x @ w) ** 2), ADAM, in_memory(X, 2))(init(W["w"], ADAM), 2)
    assert_close(part(state.params, "w"), alone.params)


def test_an_optimizer_that_asks_for_the_loss_gets_it():
    """A line search, which evaluates the loss again, finds the minimum of a square at once."""
    optimizer = optax.lbfgs()
    state, _ = advance(squares, optimizer, in_memory((X, Y), 3))(init(W, optimizer), 20)
    exact = np.linalg.lstsq(np.c_[X, np.ones(3)], Y, rcond=None)[0]
    np.testing.assert_allclose([*state.params["w"], state.params["b"]], exact, rtol=1e-3)


ASKING = {
    "gradients elsewhere": optax.contrib.sam(
        optax.sgd(0.1), optax.chain(optax.contrib.normalize(), optax.sgd(0.01)), opaque_mode=True
    ),
    "nothing": optax.contrib.sam(optax.sgd(0.1), optax.chain(optax.contrib.normalize(), optax.sgd(0.01))),
    "the loss as a function": optax.contrib.sophia(0.1),
}


def test_lookahead_trains_the_fast_parameters_and_moves_the_slow_ones():
    """Zhang et al. 2019, algorithm 1, with k = 2 and α = ½."""
    optimizer, inner = optax.lookahead(optax.sgd(0.1), sync_period=2, slow_step_size=0.5), optax.sgd(0.1)
    both = optax.LookaheadParams.init_synced(W)
    go = advance(lambda params, batch: squares(params.fast, batch), optimizer, in_memory((X, Y), 3))
    state, _ = go(init(both, optimizer), 2)
    fast, _ = advance(squares, inner, in_memory((X, Y), 3))(init(W, inner), 2)
    halfway = jax.tree.map(lambda slow, fast: slow + 0.5 * (fast - slow), W, fast.params)
    assert_close(state.params.slow, halfway)
    assert_close(state.params.fast, halfway)


def test_gradients_of_each_example_are_clipped_one_by_one():
    """As of DP-SGD (Abadi et al. 2016, algorithm 1) without noise, against a loop over the rows."""

    def per_example(loss, has_aux):
        each = jax.vmap(jax.value_and_grad(loss, has_aux=has_aux), in_axes=(None, 0, None))

        def gradients(params, batch, key):
            value, gradients = each(params, jax.tree.map(lambda x: x[:, None], batch), key)
            return jax.tree.map(lambda x: x.mean(0), value), gradients

        return gradients

    def clipped_mean(gradients, params):
        scale = 1 / jnp.maximum(1, jax.vmap(optax.tree.norm)(gradients))
        return jax.tree.map(lambda g: jnp.mean(jax.vmap(jnp.multiply)(scale, g), 0), gradients)

    optimizer = optax.chain(optax.stateless(clipped_mean), optax.sgd(0.1))
    state, metrics = step(squares, optimizer, grad=per_example)(init(W, optimizer), (X, Y))
    clipped = jax.tree.map(jnp.zeros_like, W)
    for x, y in zip(X, Y, strict=True):
        gradient = jax.grad(squares)(W, (x[None], y[None]))
        scale = 1 / max(1, float(optax.tree.norm(gradient)))
        clipped = jax.tree.map(lambda total, g, scale=scale: total + scale * g / len(Y), clipped, gradient)
    assert_close(state.params, jax.tree.map(lambda w, g: w - 0.1 * g, W, clipped))
    assert metrics["loss"] == pytest.approx(float(squares(W, (X, Y))))


@pytest.mark.parametrize("optimizer", ASKING.values(), ids=ASKING)
def test_an_optimizer_gets_what_it_asks_for(optimizer):
    """As in a loop of one's own, with what optax says of it."""
    state, _ = advance(squares, optimizer, in_memory((X, Y), 3))(init(W, optimizer), 4)
    update, names = optax.with_extra_args_support(optimizer).update, inspect.signature(optimizer.update)
    asked = {"obj_fn": lambda w: squares(w, (X, Y)), "grad_fn": lambda w, _: jax.grad(squares)(w, (X, Y))}
    given = {name: f for name, f in asked.items() if name in str(names) or "extra" in str(names)}
    params, own = W, optimizer.init(W)
    for _ in range(4):
        updates, own = update(jax.grad(squares)(params, (X, Y)), own, params, **given)
        params = optax.apply_updates(params, updates)
    assert_close(state.params, params)


def test_a_loss_that_is_an_object_of_arrays():
    class Weighted(eqx.Module):
        weight: jax.Array

        def __call__(self, params, batch):
            return self.weight * squares(params, batch)

    state, _ = step(Weighted(jnp.float32(1)), ADAM)(init(W, ADAM), (X, Y))
    assert_equal(state, step(squares, ADAM)(init(W, ADAM), (X, Y))[0])


def test_a_convolution_on_a_cpu_is_not_put_into_a_loop(monkeypatch):
    """As JAX's issue 12868 has it, it would take ten times as long; the result is the same."""
    from funcnet.train import steps as module

    def loss(kernel, x):
        return jnp.mean(jax.lax.conv(x, kernel, (1, 1), "SAME") ** 2)

    images = np.random.default_rng(0).standard_normal((6, 1, 5, 5), np.float32)
    kernel, batches = np.ones((2, 1, 3, 3), np.float32), in_memory(images, 2)
    looped, metrics = jax.jit(lambda state: advance(loss, ADAM, batches)(state, 7))(init(kernel, ADAM))
    monkeypatch.setattr(module.lax, "fori_loop", None)
    state, singly = advance(loss, ADAM, batches)(init(kernel, ADAM), 7)
    assert_close((state, singly), (looped, metrics))


def deleted():
    array = jnp.ones(2)
    array.delete()
    return array


REFUSED = [
    (init, (Run(jnp.ones(2)), ADAM), r"params is a Run; expected arrays\. Take its params"),
    (init, (init(W, ADAM), ADAM), r"params is a State; expected a pytree of arrays\. Take its params"),
    (step(squares, ADAM), (W, (X, Y)), "the state is a dict; expected what init.* makes"),
    (advance(squares, ADAM, in_memory((X, Y), 1)), (W, 3), "got a dict and 3 steps; expected what init"),
    (advance(squares, ADAM, in_memory((X, Y), 1)), (init(W, ADAM), 0), "and 0 steps; expected .* 1 or more"),
    (init, (SimpleNamespace(), ADAM), "the parameter 'params' is a SimpleNamespace; expected arrays"),
    (init, ({"f": jnp.tanh}, ADAM), "the parameter 'f' is a .*; expected arrays. Split off"),
    (init, ({}, ADAM), "there are no parameters; expected a pytree of arrays"),
    (init, ({"a": W["w"], 1: W["b"]}, ADAM), "a dictionary's keys have no order: .* Name all by texts"),
    (
        init,
        (np.ones((11, 10)).tolist(), ADAM),
        r"there are 110 numbers of Python's .* Take jax.numpy.asarray",
    ),
    (
        init,
        (deleted(), ADAM),
        "the parameter '' has been deleted, as what is donated .* or a copy from before",
    ),
    (init, (W, optax.adam), r"the optimizer is a function \(adam\); expected one of optax's"),
    (
        init,
        (W, SimpleNamespace(tx=ADAM)),
        r"the optimizer is a Simple.*; expected one of optax's.* Take its tx",
    ),
    (
        init,
        (W, optax.masked(ADAM, {"kernel": True})),
        r"does not begin with these parameters, b, w: [\s\S]*kernel[\s\S]*Give it labels and masks",
    ),
    (
        init,
        (W, optax.multi_transform({"adam": ADAM}, {"w": "adam", "b": "none"})),
        r"does not begin with these parameters, b, w: .*no corresponding transformation",
    ),
    (
        init,
        (W, optax.lookahead(ADAM, 5, 0.5)),
        r"are a dict, and optax.lookahead has two sets .* optax.LookaheadParams.init_synced\(params\)",
    ),
    (advance, (squares, ADAM, (X, Y)), r"batches are of type tuple; expected in_memory\(arrays, size\)"),
]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("function", "args", "words"), REFUSED)
def test_what_is_refused_before_the_first_step(function, args, words):
    with pytest.raises(ParameterError, match=words):
        function(*args)


LOSSES = [
    (lambda params: 0.0, ParameterError, r"takes \(params\); expected loss\(params, batch\) or loss\("),
    (lambda params, batch, rng: 0.0, ParameterError, r"takes \(params, batch, rng\); expected"),
    (
        lambda params, batch: (jnp.sum(params["w"]), 3.0),
        ParameterError,
        "expected a scalar, .scalar, metrics",
    ),
    (lambda params, batch: (jnp.sum(params["w"]), {}, {"v": 1.0}), ParameterError, "new values for entries"),
    (
        lambda params, batch: (0.0, {}, {"w": jnp.ones(3)}),
        ParameterError,
        r"keeps 'w' as float \[3\]; expected float \[2\], as in params",
    ),
    (
        lambda params, batch: params["w"],
        GradientError,
        r"returned float32\[2\]; expected a scalar .*the mean",
    ),
    (lambda params, batch: None, GradientError, "returned None; expected a scalar of floats"),
    (lambda params, batch: 3, GradientError, r"returned int32\[\]; expected a scalar of floats"),
    (lambda params, batch: (0.0, {"name": "text"}), ParameterError, "returned what is no array: .*text"),
    (3.0, ParameterError, r"the loss is 3\.0; expected a function, loss\(params, batch\)"),
    (
        jax.value_and_grad(squares),
        ParameterError,
        "as gradients are that value_and_grad returns; .* the loss",
    ),
    (
        lambda params, batch: {"loss": jnp.sum(params["w"])},
        GradientError,
        "the loss returned a dict; expected",
    ),
]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("loss", "error", "words"), LOSSES)
def test_a_loss_of_another_kind(loss, error, words):
    with pytest.raises(error, match=words):
        step(loss, ADAM)(init(W, ADAM), (X, Y))


def of_one(loss, has_aux):
    """Gradients of the first parameter alone."""

    def gradients(params, batch, key):
        return loss(params, batch, key), {"w": params["w"]}

    return gradients


GRADS = [
    (of_one, "gradients of another tree than the parameters, which differs in b; expected one for each"),
    (lambda loss, has_aux: loss, r"returned a tuple; expected \(\(scalar, aux\), gradients\), as jax"),
    (lambda loss, has_aux: lambda *args: None, r"returned None; expected \(\(scalar, aux\), gradients\)"),
]


@pytest.mark.parametrize(("grad", "words"), GRADS)
def test_a_grad_of_another_kind(grad, words):
    with pytest.raises(ParameterError, match=words):
        step(squares, ADAM, grad=grad)(init(W, ADAM), (X, Y))


def test_what_is_kept_adds_nothing_to_the_norm_of_the_gradients():
    """A loss has a slope in what it keeps: clipped as if only the parameter were differentiated."""
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))

    def loss(params, x):
        return jnp.mean((params["w"] * params["seen"] - x) ** 2), {}, {"seen": params["seen"] + jnp.mean(x)}

    params, x = {"w": jnp.float32(2), "seen": jnp.float32(3)}, X[:, 0]
    for grad in (value_and_grad, jax.value_and_grad):
        state, _ = step(loss, optimizer, grad=grad)(init(params, optimizer), x)
        gradient = np.mean(2 * (2 * 3 - x) * 3)
        assert gradient > 0.5
        np.testing.assert_allclose(state.params["w"], 2 - 0.1 * 0.5, rtol=1e-6)
        np.testing.assert_allclose(state.params["seen"], 3 + np.mean(x), rtol=1e-6)


@pytest.mark.parametrize("grad", [value_and_grad, jax.value_and_grad], ids=["funcnet", "jax"])
def test_complex_parameters_train_as_in_a_loop_of_one_s_own(grad):
    """By JAX's gradients, which are conjugate to the way down, as optax has it for complex parameters."""
    optimizer = optax.contrib.split_real_and_imaginary(ADAM)
    params = {"c": jnp.array([1 + 2j, 0.5 - 1j], jnp.complex64), "w": jnp.float32(0.5)}

    def loss(params, x):
        return jnp.mean(jnp.abs(jnp.fft.ifft(x * params["c"]) - params["w"] * 1j) ** 2)

    x = jnp.array([[1 + 1j, 2], [0.5j, 1 - 1j]], jnp.complex64)
    state, _ = advance(loss, optimizer, in_memory(x, 2), grad=grad)(init(params, optimizer), 5)
    own, moments, batches = params, optimizer.init(params), in_memory(x, 2)
    for s in range(5):
        updates, moments = optimizer.update(jax.grad(loss)(own, batches(s)), moments, own)
        own = optax.apply_updates(own, updates)
    assert_close(state.params, own)


class Scale(NamedTuple):
    """A dynamic scale of losses (Micikevicius et al. 2018, section 3.2): halved by an overflow."""

    factor: Any
    good: Any

    def after(self, finite):
        doubled = jnp.where(self.good == 1, 2 * self.factor, self.factor)
        good = jnp.where(finite, (self.good + 1) % 2, 0)
        return Scale(jnp.where(finite, doubled, self.factor / 2), good)


def scaled(loss, has_aux):
    """Gradients in half precision of a scaled loss; the scale is an entry that the loss keeps."""

    def gradients(params, batch, key):
        def of(params):
            total, (metrics, kept) = loss(params, batch, key)
            return total * jax.lax.stop_gradient(kept["scale"].factor), (total, metrics, kept)

        (_, (total, metrics, kept)), gradients = jax.value_and_grad(of, has_aux=True)(params)
        gradients = jax.tree.map(lambda g: g / kept["scale"].factor, gradients)
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradients)]))
        kept = kept | {"scale": kept["scale"].after(finite)}
        return (total, (metrics, kept)), gradients

    return gradients


def test_a_grad_of_one_s_own_changes_the_scale_that_the_loss_keeps():
    """Overflows of float16 halve it and leave the step out, two good steps double it.

    The largest gradient, that of w₁, is 2.3 at first and 1.0 after a step: 2.3 · 2¹⁵ is beyond 65504.
    """
    optimizer = optax.apply_if_finite(optax.sgd(0.1), 100)

    def loss(params, batch):
        half = jax.tree.map(lambda p: p.astype(jnp.float16), params["net"])
        x, y = batch
        error = x.astype(jnp.float16) @ half["w"] + half["b"] - y.astype(jnp.float16)
        return jnp.mean(error.astype(jnp.float32) ** 2), {}, {"scale": params["scale"]}

    params = {"net": W, "scale": Scale(jnp.float32(2.0**17), jnp.int32(0))}
    take = jax.jit(step(loss, optimizer, grad=scaled))
    state, factors = init(params, optimizer), []
    for _ in range(6):
        state, _ = take(state, (X, Y))
        factors.append(float(np.log2(state.params["scale"].factor)))
    assert factors == [16, 15, 14, 14, 15, 15]
    assert state.step == 6
    assert not np.array_equal(state.params["net"]["w"], W["w"])


@pytest.mark.parametrize("params", [3, {"n": np.arange(3)}], ids=["number", "array"])
def test_a_parameter_that_is_neither_trained_nor_kept(params):
    with pytest.raises(ParameterError, match=r"the parameter .* is of type int32; expected floats. Split"):
        step(lambda params, batch: 0.0, ADAM)(init(params, ADAM), X)
