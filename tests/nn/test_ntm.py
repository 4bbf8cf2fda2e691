"""The Neural Turing Machine beside its equations in NumPy; its gradient beside JAX and differences."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError, ShapeError
from funcnet.data import procedural
from funcnet.nn import addressing

KEY = jax.random.key(231)
SMALL = {"units": 7, "places": 6, "width": 5}
each_controller = pytest.mark.parametrize("controller", ["feedforward", "lstm"])


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def sigma(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def content(memory, k, beta):
    """Eq. 5 and 6."""
    k = np.tanh(k)
    cosines = [k @ row / (np.linalg.norm(k) * np.linalg.norm(row)) for row in memory]
    return softmax(softplus(beta) * np.array(cosines))


def interpolate(w, found, g):
    """Eq. 7."""
    return sigma(g) * found + (1 - sigma(g)) * w


def shift(w, s):
    """Eq. 8: the sum over j of w(j) s(i − j), modulo the places."""
    shares, reach, n = softmax(s), len(s) // 2, len(w)
    return np.array(
        [sum(w[(i - j) % n] * shares[j + reach] for j in range(-reach, reach + 1)) for i in range(n)]
    )


def sharpen(w, gamma):
    """Eq. 9."""
    powers = w ** (1 + softplus(gamma))
    return powers / powers.sum()


def samples(rng):
    """Of each stage: the arguments."""
    w, found = rng.dirichlet(np.ones(6), 2)
    memory = rng.normal(size=(6, 5))
    return {
        "content": (memory, rng.normal(size=5), rng.normal(size=1)),
        "interpolate": (w, found, rng.normal(size=1)),
        "shift": (w, rng.normal(size=5)),
        "sharpen": (w, rng.normal(size=1)),
    }


@pytest.mark.parametrize("stage", ["content", "interpolate", "shift", "sharpen"])
def test_each_stage_of_addressing_is_the_papers(stage, x64):
    for seed in range(3):
        arguments = samples(np.random.default_rng(seed))[stage]
        got = getattr(addressing, stage)(*map(jnp.asarray, arguments))
        np.testing.assert_allclose(got, globals()[stage](*arguments), rtol=1e-12)
        np.testing.assert_allclose(got.sum(), 1, rtol=1e-12)


def test_sharpening_even_weights_by_a_large_power_leaves_them_even():
    w = jnp.full(128, 1 / 128)  # to the power of 50 it is 0 in float32
    value, slope = jax.value_and_grad(lambda w: addressing.sharpen(w, jnp.array([50.0]))[3])(w)
    assert value == pytest.approx(1 / 128)
    assert np.isfinite(slope).all()


def layer(p, x):
    return x @ p["w"] + p["b"]


def numpy_ntm(params, inputs, width):
    """The scores and the memory after all steps, by the equations."""
    heads = {name: p for name, p in params.items() if "head" in name}
    weightings = {name: softmax(p["weighting"]) for name, p in heads.items()}
    reads = {name: p["read"] for name, p in heads.items() if "read" in p}
    memory = np.full((6, width), 1e-6)
    h, c = params["controller"].get("h"), params["controller"].get("c")
    scores = []
    for x in inputs:
        seen = np.concatenate([x, *reads.values()])
        if c is None:
            h = np.tanh(layer(params["controller"], seen))
        else:
            i, f, new, o = np.split(layer(params["controller"], np.concatenate([seen, h])), 4)
            c = sigma(f) * c + sigma(i) * np.tanh(new)
            h = sigma(o) * np.tanh(c)
        before, written = memory, []
        for name, p in heads.items():
            z = layer(p, h)
            k, beta, g, z = np.split(z, [width, width + 1, width + 2])
            s, gamma, erase, add = (
                np.split(z, np.array([3, 4, 4 + width])) if "read" not in p else (*np.split(z, [3]), 0, 0)
            )
            w = interpolate(weightings[name], content(before, k, beta), g)
            w = weightings[name] = sharpen(shift(w, s), gamma)
            if "read" in p:
                reads[name] = w @ before
            else:
                memory = memory * (1 - np.outer(w, sigma(erase)))
                written.append(np.outer(w, np.tanh(add)))
        memory = memory + sum(written)
        scores.append(layer(params["output"], np.concatenate([h, *reads.values()])))
    return np.array(scores), memory


@each_controller
@pytest.mark.parametrize(("reading", "writing"), [(1, 1), (2, 1), (1, 3)])
def test_a_step_is_the_papers(controller, reading, writing, x64):
    params = nn.init_ntm(KEY, 4, 3, controller=controller, read_heads=reading, write_heads=writing, **SMALL)
    inputs = np.random.default_rng(0).normal(size=(4, 4))
    trace = nn.ntm_trace(params, jnp.asarray(inputs))
    scores, memory = numpy_ntm(jax.tree.map(np.asarray, params), inputs, SMALL["width"])
    np.testing.assert_allclose(trace.outputs, scores, rtol=1e-9)
    np.testing.assert_allclose(trace.memory[-1], memory, rtol=1e-9)
    np.testing.assert_array_equal(nn.ntm(params, jnp.asarray(inputs)), trace.outputs)
    machine = nn.ntm_start(params)
    for x, row in zip(jnp.asarray(inputs), scores, strict=True):
        machine, found = nn.ntm_step(params, machine, x)
        np.testing.assert_allclose(found, row, rtol=1e-9)
    np.testing.assert_allclose(machine.memory, memory, rtol=1e-9)
    assert [len(trace.reads), len(trace.read_weightings)] == [reading] * 2
    assert [len(trace.adds), len(trace.write_weightings)] == [writing] * 2
    for w in (*trace.read_weightings, *trace.write_weightings):
        np.testing.assert_allclose(w.sum(1), 1, rtol=1e-12)


def sizes(params):
    """Of each part, and of what it starts with."""
    start = {"weighting", "read", "h", "c"}
    layers = {name: p["w"].size + p["b"].size for name, p in params.items()}
    return layers | {"start": sum(p[n].size for p in params.values() for n in start & set(p))}


def test_the_sizes_of_the_copy_task():
    """128 places of 20 numbers, 100 units, one head each; 8 bits and a delimiter come in."""
    heads = {"read_head1": 2626, "write_head1": 6666, "output": 968}
    params = nn.init_ntm(KEY, 9, 8)
    assert sizes(params) == {"controller": 3000, **heads, "start": 276}
    assert sum(p.size for p in jax.tree.leaves(params)) == 13_536
    params = nn.init_ntm(KEY, 9, 8, controller="lstm")
    assert sizes(params) == {"controller": 52_000, **heads, "start": 276 + 200}
    assert sum(p.size for p in jax.tree.leaves(params)) == 62_736


def copying(params, episode, length):
    scores = nn.ntm(params, episode.inputs, length=length)
    losses = jnp.sum(nn.logistic_loss(scores, episode.targets), 1)
    return jnp.sum(losses, where=episode.counts)


@pytest.mark.in_turns(3)
@pytest.mark.parametrize(("controller", "heads"), [("feedforward", 1), ("lstm", 2), ("feedforward", 3)])
def test_its_gradient_is_that_of_jax_and_of_differences(controller, heads, x64):
    """As one scan, and step by step for a length that is not known before."""
    params = nn.init_ntm(KEY, 4, 3, controller=controller, read_heads=heads, write_heads=heads, **SMALL)
    episode = procedural.copy(KEY, (2, 4), bits=3)
    loss = jax.jit(functools.partial(copying, episode=episode, length=None))
    gradients = [
        jax.jit(grad(functools.partial(copying, episode=episode, length=length)))(params)
        for grad, length in ((jax.grad, None), (funcnet.grad, None), (funcnet.grad, episode.length))
    ]
    for other in gradients[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), gradients[0], other
        )
    leaves, structure = jax.tree.flatten(params)
    for seed in range(3):
        directions = structure.unflatten(
            [jax.random.normal(jax.random.key(seed + i), leaf.shape) for i, leaf in enumerate(leaves)]
        )
        at = lambda h, d=directions: loss(jax.tree.map(lambda p, d: p + h * d, params, d))  # noqa: E731
        slope = (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4
        inner = jax.tree.map(lambda g, d: jnp.sum(g * d), gradients[0], directions)
        np.testing.assert_allclose(sum(jax.tree.leaves(inner)), slope, rtol=1e-7)


def test_every_parameter_has_a_gradient():
    params = nn.init_ntm(KEY, 4, 3, controller="lstm", read_heads=2, **SMALL)
    episode = procedural.copy(KEY, (3, 3), bits=3)
    gradient = jax.jit(jax.grad(lambda params: copying(params, episode, None)))(params)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert jnp.any(leaf != 0), path


def test_scores_after_the_length_are_0_and_those_before_do_not_know_of_them():
    params = nn.init_ntm(KEY, 4, 3, **SMALL)
    inputs = jax.random.normal(KEY, (6, 4))
    lengths = jnp.array([0, 2, 6])
    every = jax.vmap(lambda n: nn.ntm(params, inputs, length=n))(lengths)
    whole = nn.ntm(params, inputs)
    for n, scores in zip(lengths, every, strict=True):
        np.testing.assert_allclose(scores[:n], whole[:n], rtol=1e-5, atol=1e-6)
        assert not scores[n:].any()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"places": 0}, "0 places"),
        ({"write_heads": 0}, "0 write heads"),
        ({"shifts": 4}, "4 shifts; expected an odd number"),
        ({"shifts": 7, "places": 6}, "7 shifts; expected an odd number, at most the 6 places"),
        ({"controller": "gru"}, "'gru'; expected feedforward or lstm"),
    ],
)
def test_what_is_no_machine(given: dict[str, Any], words):
    with pytest.raises(ParameterError, match=words):
        nn.init_ntm(KEY, 4, 3, **given)


@pytest.mark.usefixtures("no_shape_checks")
@each_controller
def test_what_is_no_sequence(controller):
    params = nn.init_ntm(KEY, 4, 3, controller=controller, read_heads=2, **SMALL)
    for run in (nn.ntm, nn.ntm_trace):
        with pytest.raises(
            ShapeError, match=re.escape(f"{run.__name__}: inputs have shape [6, 5]; expected [time, 4]")
        ):
            run(params, jnp.ones((6, 5)))
    with pytest.raises(ParameterError, match="length is 7 for 6 steps; expected 0 to 6"):
        nn.ntm(params, jnp.ones((6, 4)), length=7)
