"""Sweeps: each run is the one that fit makes, whatever else is trained beside it."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from funcnet._errors import NonFiniteError, ParameterError
from funcnet.data import load
from funcnet.train import Config, fit, sweep

pytestmark = pytest.mark.in_turns(2)

MOONS = load("moons")
CONFIG = Config(data="moons", batch_size=64, epochs=4, learning_rate=0.1, dtype="float64")
AXES = {
    "seed": (0, 2**32 - 1),
    "hidden": ((2, 4), (5, 3)),
    "regularization": (0.0, 0.1),
    "activation": ("tanh", "sigmoid"),
}
DECAYING = Config(data="moons", batch_size=200, epochs=5, optimizer="adamw", hidden=())


@pytest.fixture(scope="module")
def runs():
    """Twelve steps of momentum with warm-up, in float64, where nothing hides behind rounding."""
    return sweep(CONFIG, MOONS, **AXES)


@pytest.mark.parametrize("index", [(0, 0, 1, 1), (1, 1, 0, 0)])
def test_a_run_is_the_one_of_fit(index, runs):
    """σ(0) = ½: a dead unit of sigmoid nets has an output, and would get weights if its gradient passed."""
    run = runs.run(*index)
    assert run.config == replace(CONFIG, **{name: AXES[name][i] for name, i in zip(AXES, index, strict=True)})
    alone = fit(run.config, MOONS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), run.params, alone.params
    )
    for part in ("train", "validation", "test"):
        measured, expected = getattr(runs, part), alone.evaluate(getattr(MOONS, part))
        np.testing.assert_allclose(measured.loss[index], expected.loss, rtol=1e-12)
        assert measured.accuracy[index] == expected.accuracy
    np.testing.assert_allclose(run.scores(MOONS.test.x), alone.scores(MOONS.test.x), rtol=1e-11)


def test_axes_are_in_the_order_of_their_names(runs):
    assert runs.shape == (2, 2, 2, 2)
    assert runs.axes == AXES
    arrays = [*runs.train, *runs.validation, *runs.test]
    assert {array.shape for array in arrays} == {runs.shape}
    assert len(np.unique(runs.train.loss)) == 16
    assert jax.tree.map(np.shape, runs.run(0, 0, 0, 0).params) == {
        "layer1": {"w": (2, 2), "b": (2,)},
        "layer2": {"w": (2, 4), "b": (4,)},
        "layer3": {"w": (4, 2), "b": (2,)},
    }


def test_what_is_padded_stays_zero(runs):
    w1, w2, w3 = (runs.params[f"layer{n}"]["w"] for n in (1, 2, 3))
    assert (w1.shape[4:], w2.shape[4:], w3.shape[4:]) == ((2, 5), (5, 4), (4, 2))
    for padded in (w1[:, 0, ..., 2:], w2[:, 0, ..., 2:, :], w2[:, 1, ..., 3:], w3[:, 1, ..., 3:, :]):
        assert (padded == 0).all()
    assert (runs.params["layer1"]["b"][:, 0, ..., 2:] == 0).all()
    for live in (w1[:, 0, ..., :2], w2[:, 0, ..., :2, :], w2[:, 1, ..., :3], w3[:, 1, ..., :3, :]):
        assert (live != 0).all()


def test_linear_classifiers_that_differ_in_decay():
    """The axes without values are those of the configuration; float32 rounds otherwise in a batch of nets."""
    few = sweep(DECAYING, MOONS, regularization=(0.5, 0.01))
    assert few.axes == {
        "seed": (0,),
        "hidden": ((),),
        "regularization": (0.5, 0.01),
        "activation": ("relu",),
    }
    alone = fit(replace(DECAYING, regularization=0.01), MOONS)
    run = few.run(0, 0, 1, 0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), run.params, alone.params
    )
    assert np.abs(few.run(0, 0, 0, 0).params["layer1"]["w"] - alone.params["layer1"]["w"]).max() > 1e-3


def test_a_run_that_diverges_leaves_the_others_alone():
    sane, other = (sweep(DECAYING, MOONS, regularization=(0.01, strength)) for strength in (0.5, 1e30))
    np.testing.assert_array_equal(other.train.loss[:, :, 0], sane.train.loss[:, :, 0])
    for metrics in (other.train, other.validation, other.test):
        assert np.isfinite(metrics).sum() == 2
        assert np.isnan(metrics)[..., 1, 0].all()
    words = (
        r"run\(0, 0, 1, 0\): it diverged.*Lower learning_rate \(it is 0.001\), or .*'regularization': 1e\+30"
    )
    with pytest.raises(NonFiniteError, match=words):
        other.run(0, 0, 1, 0)


@pytest.mark.parametrize("index", [(0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 2, 0), (-1, 0, 0, 0)])
def test_no_such_run(index, runs):
    with pytest.raises(
        ParameterError, match=r"no such run; expected an index from 0 for each of seed, hidden"
    ):
        runs.run(*index)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"hidden": ()}, "sweep: hidden has no values; expected one or more, or None for config's own"),
        ({"hidden": (3, 6)}, r"hidden is 3; expected a tuple of whole numbers"),
        ({"hidden": ((3,), (3, 3))}, r"hidden is \(\(3,\), \(3, 3\)\); expected the same number of layers"),
        ({"activation": ("relu", "maxout")}, "'maxout' has layers of another shape; .* Train it with fit"),
        ({"activation": ("rleu",)}, "activation is 'rleu'; expected one of relu"),
        ({"regularization": (0.1, -1.0)}, "regularization is -1.0; expected a number, 0 or more"),
        ({"seed": (0.5,)}, "seed is 0.5; expected a whole number"),
    ],
)
def test_axes_that_cannot_be_swept(axes, words, no_shape_checks):
    with pytest.raises(ParameterError, match=words):
        sweep(CONFIG, MOONS, **axes)
