"""optax: gradients through optimization steps and line searches, losses, projections, implicit differences.

A step of an optimizer is a function of the parameters and of the optimizer's own settings: the gradient in a
learning rate, or in the loss that was descended, goes through the gradient that the step takes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcnet
from tests.backprop.compare import assert_close
from tests.peers.rows import Row, check, parametrize

rng = np.random.default_rng(13)
SCORES = rng.standard_normal((4, 3))
LABELS = np.array([0, 2, 1, 1])
SPREAD = np.array([0.3, -0.5, 1.2])
FIRST = np.array([0.4, 0.1, 0.5])


def descended(w, p):
    """What the inner optimizer descends."""
    return jnp.sum(p["scale"] * (jnp.cosh(w - p["centre"]) - 1))


def trained(make, steps=3):
    """A loss of the parameters after some steps, in their start, the optimizer's rate and the inner loss."""

    def loss(p):
        optimizer = make(p["rate"])

        def step(carry, _):
            w, state = carry
            g = jax.grad(descended)(w, p)
            updates, state = optimizer.update(g, state, w)
            return (optax.apply_updates(w, updates), state), None

        (w, _), _ = jax.lax.scan(step, (p["start"], optimizer.init(p["start"])), length=steps)
        return jnp.sum(jnp.sin(w))

    return loss


def mean(loss, *more):
    """A loss of optax's in the scores."""
    return lambda scores: jnp.mean(jnp.sin(loss(scores, *map(jnp.asarray, more))))


def aligned(scores):
    """Connectionist temporal classification of two sequences of four frames."""
    frames = jnp.stack([scores, jnp.sin(scores)])
    none = jnp.zeros((2, 4), frames.dtype)
    labels = jnp.asarray([[1, 2, 0], [2, 0, 0]])
    return jnp.sum(optax.ctc_loss(frames, none, labels, jnp.asarray([[0.0, 0, 1], [0, 1, 1]])))


def contrast(scores):
    return optax.losses.ntxent(scores, jnp.asarray([0, 1, 0, 1]), temperature=0.5)


def fenchel_young(scores):
    return jnp.sum(optax.losses.make_fenchel_young_loss(jax.nn.logsumexp)(scores[0], jnp.eye(3)[1]))


def projected(project, *more):
    return lambda x: jnp.sum(jnp.arange(1.0, 4.0) * project(x, *more) ** 2)


def perturbed(x):
    """A step function made smooth by noise: the gradient is that of a sample of it."""
    noisy = optax.perturbations.make_perturbed_fun(
        lambda s: jax.nn.one_hot(jnp.argmax(s), 3), num_samples=8, sigma=0.5
    )
    return jnp.sum(jnp.arange(3.0) * noisy(jax.random.key(1), x))


def trees(p):
    norm = optax.tree.norm(p) + optax.safe_norm(p["start"], 1e-3)
    clipped, _ = optax.clip_by_global_norm(0.5).update(p, optax.EmptyState())
    unit = optax.tree.scale(2.0, optax.tree.add(p, clipped))
    return norm + jnp.sum(jnp.sin(unit["start"])) + optax.tree.vdot(p, clipped)


def scaled(p):
    return jnp.sum(jnp.sin(optax.scale_gradient(p["start"], 0.5) * p["rate"]))


def schedules(p):
    """Rates at several steps, in the first and the last of them."""
    rates = (
        optax.polynomial_schedule(p["rate"], 0.1 * p["rate"], 2, 5),
        optax.join_schedules([optax.linear_schedule(0.0, p["rate"], 3), lambda i: p["rate"] / (5 + i)], [3]),
        optax.cosine_decay_schedule(p["rate"], 7, alpha=0.1),
    )
    return sum(jnp.sum(jnp.sin(rate(jnp.arange(6)))) for rate in rates)


TRAINED = {"start": SPREAD, "rate": np.array(0.2), "scale": np.array(1.3), "centre": FIRST}

ROWS = [
    Row("sgd with momentum", trained(lambda rate: optax.sgd(rate, 0.9, nesterov=True)), TRAINED, second=True),
    Row("adam", trained(lambda r: optax.adam(r, eps=0.3)), TRAINED),
    Row(
        "adamw with clipping",
        trained(lambda r: optax.chain(optax.clip(0.5), optax.adamw(r, eps=0.3))),
        TRAINED,
    ),
    Row("rmsprop", trained(lambda r: optax.rmsprop(r, eps=0.3)), TRAINED),
    Row("adabelief", trained(lambda r: optax.adabelief(r, eps=0.3)), TRAINED),
    Row("yogi", trained(lambda r: optax.yogi(r, eps=0.3)), TRAINED),
    Row("lbfgs with a given rate", trained(lambda r: optax.lbfgs(r, linesearch=None)), TRAINED, turns=4),
    Row("schedules", schedules, {"rate": np.array(0.7)}),
    Row("trees, norms, clipping", trees, {"start": SPREAD, "rate": np.array(0.7)}),
    Row("scale_gradient", scaled, {"start": SPREAD, "rate": np.array(0.7)}),
    Row("projection_simplex", projected(optax.projections.projection_simplex), SPREAD),
    Row("projection_l1_ball", projected(optax.projections.projection_l1_ball, 1.2), SPREAD),
    Row("projection_l1_sphere", projected(optax.projections.projection_l1_sphere, 1.2), SPREAD),
    Row("projection_l2_ball", projected(optax.projections.projection_l2_ball, 0.2), SPREAD),
    Row("projection_box", projected(optax.projections.projection_box, -0.4, 1.0), SPREAD),
    Row(
        "softmax cross entropy", mean(optax.losses.softmax_cross_entropy_with_integer_labels, LABELS), SCORES
    ),
    Row("poly loss", mean(optax.losses.poly_loss_cross_entropy, np.eye(3)[LABELS]), SCORES),
    Row("focal loss", mean(optax.losses.sigmoid_focal_loss, np.eye(3)[LABELS]), SCORES),
    Row("sparsemax loss", mean(optax.losses.multiclass_sparsemax_loss, LABELS), SCORES),
    Row("perceptron loss", mean(optax.losses.multiclass_perceptron_loss, LABELS), SCORES),
    Row("ranking loss", mean(optax.losses.ranking_softmax_loss, np.eye(3)[LABELS]), SCORES),
    Row("huber loss", mean(optax.losses.huber_loss, np.zeros((4, 3))), SCORES),
    Row("log cosh", mean(optax.losses.log_cosh, np.zeros((4, 3))), SCORES),
    Row("cosine distance", mean(optax.losses.cosine_distance, SCORES[::-1]), SCORES),
    Row(
        "generalized divergence", mean(optax.losses.generalized_kl_divergence, np.full((4, 3), 1 / 3)), SCORES
    ),
    Row("dice loss", mean(optax.losses.dice_loss, np.eye(3)[LABELS]), SCORES),
    Row("ctc loss", aligned, SCORES),
    Row("ntxent", contrast, SCORES),
    Row("Fenchel-Young loss", fenchel_young, SCORES),
    Row("perturbed argmax", perturbed, SPREAD),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)


BACKTRACKING = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(4, store_grad=True))
SEARCHES = {
    "backtracking": BACKTRACKING,
    "zoom": optax.chain(optax.sgd(1.0), optax.scale_by_zoom_linesearch(max_linesearch_steps=4)),
    "lbfgs": optax.lbfgs(memory_size=3),
}


def searched(optimizer):
    """A loss of the parameters after two steps, each as long as a search along its line finds best."""

    def loss(p):
        def f(w):
            return descended(w, p)

        w, state = p["start"], optimizer.init(p["start"])
        for _ in range(2):
            value, g = optax.value_and_grad_from_state(f)(w, state=state)
            updates, state = optimizer.update(g, state, w, value=value, grad=g, value_fn=f)
            w = optax.apply_updates(w, updates)
        return jnp.sum(jnp.sin(w))

    return loss


@pytest.mark.in_turns(3)
@pytest.mark.parametrize("name", SEARCHES)
def test_line_search(name, x64):
    """JAX cannot go back through their loops, but forward: one direction for each number."""
    p = {key: jnp.asarray(x) for key, x in TRAINED.items() if key != "rate"}
    loss = searched(SEARCHES[name])
    assert_close(*jax.jit(lambda p: (funcnet.grad(loss)(p), jax.jacfwd(loss)(p)))(p), 1e-12)


@pytest.mark.in_turns(3)
@pytest.mark.parametrize("name", SEARCHES)
def test_line_search_with_our_gradients(name, x64):
    """The same steps whoever says what the gradient is."""

    def run(value_and_grad):
        optimizer, w = SEARCHES[name], jnp.asarray(SPREAD)
        state = optimizer.init(w)
        p = {"scale": 1.3, "centre": jnp.asarray(FIRST)}
        for _ in range(3):
            value, g = value_and_grad(descended)(w, p)
            updates, state = optimizer.update(
                g, state, w, value=value, grad=g, value_fn=lambda w: descended(w, p)
            )
            w = optax.apply_updates(w, updates)
        return w

    assert_close(run(funcnet.value_and_grad), run(jax.value_and_grad), 1e-12)
