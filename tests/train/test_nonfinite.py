"""A run that breaks names the step and the first gate whose output is not finite, and keeps what was good."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from funcnet import nn
from funcnet._errors import DataError, NonFiniteError
from funcnet.data import Split, load
from funcnet.train import Batches, Config, State, fit, from_source, in_memory
from funcnet.train.checkpoint import read
from funcnet.train.nonfinite import Broken, finite

SPIRAL = load("spiral")
CONFIG = Config(data="spiral", hidden=(10,), batch_size=100, optimizer="sgd", schedule="constant", epochs=2)


def test_a_learning_rate_far_too_high():
    """After one step the weights are near 1e30: the product with the second layer's overflows at step 1."""
    with pytest.raises(
        NonFiniteError,
        match=r"at step 1 forward: affine makes NaN at .*mlp\.py:.*turned\['layer2'\].*the learning rate",
    ):
        fit(replace(CONFIG, learning_rate=1e30), SPIRAL)


def test_the_first_bad_step_of_a_later_epoch():
    """Each step multiplies the weights by 1 − 2λη ≈ −20, until their squares overflow."""
    config = replace(CONFIG, hidden=(), learning_rate=10.0, regularization=1.05, epochs=40)
    with pytest.raises(NonFiniteError, match=r"at step 1\d forward: l2 makes ∞ .*turned"):
        fit(config, SPIRAL)


def _with_extreme_input(value):
    x = SPIRAL.train.x.copy()
    x[0] = value
    return Split(x, SPIRAL.train.y)


def test_an_infinite_input():
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            NonFiniteError,
            match=r"at step [0-2] forward: affine makes NaN .*of 200 ∞.* came in with batch\[0\], element \[",
        ),
    ):
        fit(CONFIG, replace(SPIRAL, train=_with_extreme_input(np.inf)))


def _breaking(what, step):
    """A loss, a step size and batches of which a loss, a gradient or an update is infinite at one step."""

    def loss(w, row):
        bad = row == step
        value = jnp.sum(w**2) + jnp.where(bad & (what == "loss"), jnp.inf, 0.0)
        return value + jnp.sqrt(w[0] - jnp.where(bad & (what == "gradient"), lax.stop_gradient(w[0]), 0.0))

    rate = lambda count: jnp.where((count == step) & (what == "update"), jnp.inf, 1e-4)  # noqa: E731
    batches = Batches(lambda seed, first, steps: (), lambda data, key, step: step, 100, 200, dict)
    return functools.partial(fit, loss, np.float32([4, 1]), batches, steps=200), rate


WORDS = {
    "loss": "forward: ",
    "gradient": "backward: sqrt",
    "update": "loss and gradients are finite, but",
}


@pytest.mark.parametrize("step", [0, 62, 99, 100])
@pytest.mark.parametrize("optimizer", [optax.sgd, optax.adam, optax.lion], ids=lambda each: each.__name__)
@pytest.mark.parametrize("what", WORDS)
def test_the_step_is_found_wherever_it_is(what, optimizer, step):
    """In a chunk of 100 steps, and in the next; also where an update is a sign, and finite of what is not."""
    run, rate = _breaking(what, step)
    with pytest.raises(NonFiniteError, match=f"^at step {step} {WORDS[what]}"):
        run(optimizer=optimizer(rate))


def test_what_an_optimizer_does_not_let_through_breaks_no_run():
    """An infinite slope at the first step is clipped to 1, as in a loop by hand."""
    run, rate = _breaking("gradient", 0)
    w = np.asarray(run(optimizer=optax.chain(optax.clip(1.0), optax.sgd(rate))).params)
    assert np.isfinite(w).all()
    assert np.all(w < [4, 1])


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_an_optimizer_that_goes_on_after_bad_steps(what):
    """`apply_if_finite` leaves them out, and tells of them: as in the loop by hand."""
    run, _ = _breaking(what, 3)
    optimizer = optax.apply_if_finite(optax.sgd(1e-4), max_consecutive_errors=2)
    ended = run(optimizer=optimizer)
    state = ended.optimizer_state
    assert int(state.total_notfinite) == (what == "gradient")
    assert np.isfinite(ended.params).all()


def test_an_optimizer_that_has_gone_on_too_long():
    """After so many in a row its update is what it is, and breaks the run: here at the third NaN."""
    optimizer = optax.apply_if_finite(optax.sgd(1e-4), max_consecutive_errors=2)
    x = np.full((200, 2), np.nan, np.float32)
    with pytest.raises(NonFiniteError, match=r"^at step 2 forward: "):
        fit(lambda w, x: jnp.sum(w * x), np.ones(2), in_memory(x, 1), optimizer=optimizer, steps=9)


SKIPPING = optax.MultiSteps(optax.adam(0.1), 1, should_skip_update_fn=optax.skip_not_finite)


@pytest.mark.parametrize(
    "optimizer",
    [SKIPPING.gradient_transformation(), optax.chain(optax.zero_nans(), optax.adam(0.1))],
    ids=["skip_not_finite", "zero_nans"],
)
def test_an_optimizer_that_leaves_out_what_is_not_finite_goes_on(optimizer):
    def loss(w, row):
        return jnp.sum(w**2) * jnp.where((row >= 3) & (row < 6), jnp.nan, 1.0)

    batches = Batches(lambda seed, first, steps: (), lambda data, key, step: step, 100, 200, dict)
    run = fit(loss, np.float32([4, 1]), batches, optimizer=optimizer, steps=10)
    assert np.isfinite(run.params).all()


def test_a_label_that_is_no_class():
    """The lecture's classifier is told before the first step, a loss of arrays when it has met the label."""
    x, y = SPIRAL.train.x, SPIRAL.train.y.copy()
    y[7] = 5
    with pytest.raises(DataError, match="1 of 300 labels are no class, the first is 5; expected 0 to 2"):
        fit(CONFIG, replace(SPIRAL, train=Split(x, y)))

    def loss(w, batch):
        return jnp.mean(nn.softmax_loss(batch[0] @ w, batch[1]))

    words = r"at step \d forward: softmax_loss makes NaN .*from 0 to 5.* A label that is none of the classes"
    with pytest.raises(NonFiniteError, match=words):
        fit(loss, np.zeros((2, 3), np.float32), in_memory((x, y), 50), optimizer=optax.sgd(0.1), steps=6)


def test_a_penalty_that_overflows_over_a_finite_loss():
    config = replace(CONFIG, hidden=(), regularization=1e38)
    with pytest.raises(NonFiniteError, match=r"at step 0 forward: mul makes ∞ at .*penalty"):
        fit(replace(config, learning_rate=1e-37), SPIRAL)


def test_the_last_good_checkpoint_is_kept(tmp_path):
    """The weights grow 20-fold a step and the run breaks in an epoch after the fourth, of 3 steps each."""
    config = replace(CONFIG, hidden=(), learning_rate=10.0, regularization=1.05, epochs=40)
    with pytest.raises(NonFiniteError):
        fit(config, SPIRAL, folder=tmp_path, save_every=0.0)
    arrays, metadata = read(tmp_path / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert arrays["step"] == 3 * len(metadata["log"]["history"]) >= 12
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_flag_falls_for_one_bad_entry_among_many(bad, dtype):
    good = {"w": jnp.full((7, 5), jnp.finfo(dtype).max, dtype), "count": jnp.int32(3)}
    flag = jax.jit(finite)
    assert flag(jnp.float32(1), good)
    assert not flag(jnp.float32(1), {**good, "w": good["w"].at[6, 4].set(bad)})
    assert not flag(jnp.float32(bad), good)


def loss(params, batch):
    h = jnp.tanh(batch["x"] @ params["layer1"]["w"])
    return jnp.mean(jnp.log(h @ params["layer2"]["w"])), {"h": h}


def state_of(optimizer, scale=1.0):
    params = {"layer1": {"w": jnp.ones((2, 3))}, "layer2": {"w": scale * jnp.ones(3)}}
    return State(params, optimizer.init(params), jnp.int32(4))


BATCH = {"x": jnp.ones((5, 2))}


@pytest.mark.parametrize(
    ("batch", "scale", "rate", "words"),
    [
        (
            {"x": jnp.ones((5, 2)).at[3, 1].set(jnp.nan)},
            1.0,
            0.1,
            r"batch\['x'\] is not finite itself at .*loss",
        ),
        (BATCH, 0.0, 0.1, r"at step 4 forward: log makes ∞ at .*test_nonfinite.py:\d+.* the inputs are 0"),
        (BATCH, jnp.inf, 0.1, r"params\['layer2'\]\['w'\] is not finite itself .* learning rate"),
        (BATCH, 1.0, jnp.inf, r"loss and gradients are finite, but the update is not\. forward: "),
    ],
    ids=["data", "forward", "parameter", "update"],
)
def test_why_a_state_of_any_loss_has_no_next_step(batch, scale, rate, words):
    optimizer = optax.sgd(rate)
    state = state_of(optimizer, scale)
    with pytest.raises(NonFiniteError, match=words):
        raise Broken(loss, optimizer, state, batch).why()


@pytest.mark.parametrize("optimizer", [optax.polyak_sgd(scaling=jnp.inf), optax.lbfgs(jnp.inf)])
def test_an_optimizer_that_asks_for_the_loss_is_asked_again(optimizer):
    error = Broken(loss, optimizer, state_of(optimizer), BATCH).why()
    assert "loss and gradients are finite, but the update is not" in str(error)


@pytest.mark.parametrize(
    ("params", "scale", "words"),
    [
        ({"w": np.ones(2)}, 1e25, r"the update is not\. forward: integer_pow makes ∞ at .*optax"),
        (
            {"w": np.ones(2), "unused": np.full(2, np.nan)},
            1.0,
            r"at step 0 forward: params\['unused'\] is not fi",
        ),
    ],
    ids=["what the optimizer keeps", "a parameter that no loss reads"],
)
def test_a_state_that_no_loss_shows(params, scale, words):
    """Adam's second moments are squares of gradients; an update makes NaN of a NaN."""
    loss, batches = lambda params, x: jnp.sum(x @ params["w"]), in_memory(np.full((4, 2), scale), 2)
    with pytest.raises(NonFiniteError, match=words):
        fit(loss, params, batches, optimizer=optax.adam(1e-3), steps=2)


def test_what_a_loss_keeps_is_looked_at_too():
    def loss(params, x):
        return jnp.sum(params["w"] ** 2), {}, {"mean": jnp.log(params["mean"] - jnp.mean(x))}

    params, batches = {"w": np.float32(1), "mean": np.float32(3)}, in_memory(np.ones(1, np.float32), 1)
    words = r"at step 1 the loss is finite, but not what it keeps\. forward: log makes NaN at .*test_nonfin"
    with pytest.raises(NonFiniteError, match=words):  # of ln (3 − 1) − 1
        fit(loss, params, batches, optimizer=optax.sgd(0.1), steps=4)


def test_a_key_is_handed_on():
    noisy = lambda params, x, key: jnp.sum(jnp.log(x - x) * jax.random.normal(key, x.shape))  # noqa: E731
    optimizer = optax.sgd(0.1)
    error = Broken(noisy, optimizer, state_of(optimizer), jnp.ones(2), jax.random.key(0)).why()
    assert "log makes ∞" in str(error)


def test_what_cannot_be_repeated_is_said():
    optimizer = optax.sgd(0.1)
    error = Broken(loss, optimizer, state_of(optimizer), BATCH).why()
    assert "are finite when computed again" in str(error)


@pytest.mark.parametrize("make", [in_memory, from_source])
def test_the_example_that_is_not_finite_is_named(make):
    x = np.ones((20, 2), np.float32)
    x[13, 1] = np.nan
    data = x if make is in_memory else list(x)
    words = (
        r"^at step \d forward: x is not finite itself .*element \[(\d), 1\]\..*as data.* Row \1 of the batch "
    )
    with pytest.raises(NonFiniteError, match=words + "is example 13 of the data"):
        fit(lambda w, x: jnp.mean(x @ w), np.ones(2), make(data, 4), optimizer=optax.sgd(0.1), steps=5)


def scores_of_optax(w, batch):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(batch[0] @ w, batch[1]))


def scores_of_ours(w, batch):
    return jnp.mean(nn.softmax_loss(batch[0] @ w, batch[1]))


def rows_of_a_table(w, batch):
    return jnp.mean(jnp.take(w, batch[1], axis=0) * batch[0])


@pytest.mark.parametrize("loss", [scores_of_optax, scores_of_ours, rows_of_a_table])
def test_the_example_whose_index_is_outside_is_named(loss):
    x, y = np.ones((20, 2), np.float32), np.arange(20) % 2
    y[13] = 7
    with pytest.raises(NonFiniteError, match=r"Row \d of the batch is example 13 of the data\.$"):
        fit(loss, np.ones((2, 2)), in_memory((x, y), 4), optimizer=optax.sgd(0.1), steps=5)


def test_an_optimizer_of_a_library_is_named_beside_the_line_that_trains():
    loss = lambda w, x: jnp.sum((x[:, :1] * w[0]) ** 2)  # noqa: E731
    words = r"the update is not. .*div makes NaN at .*test_nonfinite\.py:\d+.*, inside optax/_src/transform"
    with pytest.raises(NonFiniteError, match=words):
        fit(loss, np.ones(2), in_memory(np.ones((4, 2)), 2), optimizer=optax.adam(0.1, eps=0.0), steps=3)


def safe(w, x):
    """Finite by funcnet's rules at 0, NaN by JAX's."""
    return jnp.sum(jnp.where(w != 0, jnp.sin(w) / w, 1.0)) + jnp.sum((w - x) ** 2)


def test_a_masked_zero_is_blamed_where_it_is_the_reason():
    """Not by funcnet's gradients, where the update is infinite two steps later."""
    run = functools.partial(fit, safe, np.zeros(3), in_memory(np.ones((4, 3), np.float32), 2), steps=5)
    with pytest.raises(NonFiniteError, match=r"^at step 2 loss and gradients are finite, but the update is"):
        run(optimizer=optax.sgd(lambda step: jnp.where(step == 2, jnp.inf, 0.0)))
    with pytest.raises(NonFiniteError, match=r"^at step 0 in what grad makes of the loss, .*div.* a select "):
        run(optimizer=optax.sgd(0.1), grad=jax.value_and_grad)


def test_gradients_that_are_finite_by_funcnets_rules_alone():
    loss = lambda w, x: jnp.sum(jnp.linalg.eigh(w * x)[1][:, 0] ** 3 * jnp.arange(3.0))  # noqa: E731
    words = (
        r"^at step 0 in what grad makes of the loss, .* in eigh.*By funcnet's rules, without grad=, they are"
    )
    with pytest.raises(NonFiniteError, match=words):
        fit(loss, 2.0, lambda key: jnp.eye(3), optimizer=optax.sgd(0.1), steps=1, grad=jax.value_and_grad)


def test_gradients_of_each_example_are_looked_at_as_they_are_made():
    """The loss is that of one example, and an error of its own for all of them."""

    def per_example(loss, has_aux):
        each = jax.vmap(jax.value_and_grad(loss, has_aux=has_aux), in_axes=(None, 0, None))

        def gradients(w, x, key):
            value, gradients = each(w, x, key)
            return jax.tree.map(jnp.mean, value), jnp.mean(gradients, 0)

        return gradients

    def loss(w, x):
        assert x.shape == (2,)
        return jnp.sqrt(jnp.sum((w * x) ** 2))

    x = np.ones((6, 2), np.float32)
    x[4] = 0
    words = r"^at step [0-2] in what grad makes of the loss, forward: div .*test_nonfinite.py:\d+.*\(.*loss\)"
    with pytest.raises(NonFiniteError, match=words):
        fit(loss, np.ones(2), in_memory(x, 2), optimizer=optax.sgd(0.1), steps=3, grad=per_example)
