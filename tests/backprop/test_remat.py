"""jax.checkpoint: what is kept, what runs again, and what that is worth, beside JAX."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

import funcnet
from tests.backprop.compare import assert_close


def layers(x, w):
    h = checkpoint_name(jnp.sin(x @ w), "first")
    h = checkpoint_name(jnp.sin(h @ w), "second")
    return jnp.sum(jnp.sin(h))


SAVE = jax.checkpoint_policies


@pytest.mark.parametrize(
    ("policy", "sines", "products"),
    [
        (None, 3 + 2, 6 + 2),
        (SAVE.nothing_saveable, 3 + 2, 6 + 2),
        (SAVE.everything_saveable, 3, 6),
        (SAVE.dots_saveable, 3 + 2, 6),
        (SAVE.dots_with_no_batch_dims_saveable, 3 + 2, 6),
        (SAVE.save_only_these_names("first"), 3 + 1, 6 + 2),
        (SAVE.save_anything_except_these_names("first"), 3, 6),
        (SAVE.save_any_names_but_these("first"), 3 + 1, 6 + 2),
        (SAVE.save_from_both_policies(SAVE.dots_saveable, SAVE.save_only_these_names("second")), 3 + 1, 6),
        (SAVE.offload_dot_with_no_batch_dims("device", "pinned_host"), 3 + 2, 6),
    ],
)
def test_a_policy_decides_what_runs_again(policy, sines, products):
    x, w = jnp.ones((4, 5)), 1.3 * jnp.eye(5)
    f = jax.checkpoint(layers, policy=policy)
    ours, theirs = (jax.make_jaxpr(library.grad(f, (0, 1)))(x, w) for library in (funcnet, jax))
    assert (count(ours, "sin"), count(ours, "dot_general")) == (sines, products)
    assert (count(theirs, "sin"), count(theirs, "dot_general")) == (sines, products)
    assert_close(jax.jit(funcnet.grad(f, (0, 1)))(x, w), jax.grad(layers, (0, 1))(x, w), 1e-6)


def a_step(x, w):
    return checkpoint_name(jnp.sin(x @ w), "first")


def in_a_scan(x, w):
    return jnp.sum(lax.scan(lambda c, _: (a_step(c, w), None), x, length=3)[0])


def in_a_scan_over_weights(x, w):
    ws = jnp.stack([w, w + 1, w + 2])
    last, all_of_them = lax.scan(lambda c, w: (a_step(c, w), a_step(c, 2 * w)), x, ws, reverse=True)
    return jnp.sum(last) + jnp.sum(all_of_them**2)


def in_a_jitted_function(x, w):
    return jnp.sum(jax.jit(a_step)(jax.jit(a_step)(x, w), w))


def in_a_branch(x, w):
    return jnp.sum(lax.cond(jnp.sum(w) > 0, lambda x: a_step(a_step(x, w), w), jnp.cos, x))


def in_one_of_three_branches(x, w):
    twice, once = lambda x: a_step(a_step(x, w), w), lambda x: a_step(x, 2 * w)
    return jnp.sum(lax.switch(jnp.int32(jnp.sum(w)) % 3, [jnp.cos, twice, once], x))


def in_a_branch_in_a_scan(x, w):
    step = lambda c, i: (lax.cond(i > 0, lambda c: a_step(c, w), jnp.cos, c), None)  # noqa: E731
    return jnp.sum(lax.scan(step, x, jnp.arange(3))[0])


def in_a_scan_in_a_branch(x, w):
    return lax.cond(jnp.sum(w) > 0, in_a_scan, lambda x, w: jnp.sum(jnp.cos(x)), x, w)


INSIDE = [
    in_a_scan,
    in_a_scan_over_weights,
    in_a_jitted_function,
    in_a_branch,
    in_one_of_three_branches,
    in_a_branch_in_a_scan,
    in_a_scan_in_a_branch,
]


@pytest.mark.in_turns(3)
@pytest.mark.parametrize("f", INSIDE)
@pytest.mark.parametrize("policy", [SAVE.dots_saveable, SAVE.save_only_these_names("first")])
def test_a_policy_decides_within_loops_and_branches(f, policy):
    x, w = jnp.ones((4, 5)), 1.3 * jnp.eye(5)
    saving, forgetful = jax.checkpoint(f, policy=policy), jax.checkpoint(f)
    ours, theirs, without = (
        count(jax.make_jaxpr(library.grad(g, (0, 1)))(x, w), "dot_general")
        for library, g in ((funcnet, saving), (jax, saving), (funcnet, forgetful))
    )
    assert ours <= theirs
    assert ours < without or policy is not SAVE.dots_saveable
    assert_close(jax.jit(funcnet.grad(saving, (0, 1)))(x, w), jax.grad(f, (0, 1))(x, w), 1e-6)
    twice = [jax.jit(library.hessian(lambda w: saving(x, w)))(w) for library in (funcnet, jax)]
    assert_close(*twice, 1e-5)


@pytest.mark.parametrize("prevent_cse", [True, False])
def test_the_second_run_is_behind_a_barrier(prevent_cse):
    f = jax.checkpoint(jnp.sin, prevent_cse=prevent_cse)
    program = jax.jit(funcnet.grad(lambda x: f(f(x)))).lower(1.0).as_text()
    assert ("optimization_barrier" in program) == prevent_cse


def test_remat_saves_the_memory_that_it_is_for():
    def chain(x, body):
        return jnp.sum(lax.scan(lambda c, _: (body(c), None), x, length=64)[0])

    def deep(x):
        for _ in range(8):
            x = jnp.sin(x) * x
        return x

    def temporary_bytes(library, body):
        gradient = jax.jit(library.grad(lambda x: chain(x, body)))
        return gradient.lower(jnp.ones(1000)).compile().memory_analysis().temp_size_in_bytes

    plain = temporary_bytes(funcnet, deep)
    assert (
        temporary_bytes(funcnet, jax.checkpoint(deep))
        <= temporary_bytes(jax, jax.checkpoint(deep))
        < plain / 4
    )


def test_a_barrier_for_one_argument_alone():
    f = jax.checkpoint(lambda x, w: jnp.sin(x) @ jnp.sin(w), prevent_cse=(False, True))
    program = jax.jit(funcnet.grad(lambda *xs: f(*xs).sum(), (0, 1))).lower(jnp.ones(3), jnp.ones((3, 3)))
    (barrier,) = (line for line in program.as_text().splitlines() if "optimization_barrier" in line)
    assert "tensor<3x3xf32>, tensor<3xf32>" in barrier, (
        "the weights and the cotangent, not the first argument"
    )


def count(program, primitive):
    """How often a primitive stands in a program and in the programs that it calls."""
    eqns = getattr(program, "jaxpr", program).eqns
    inside = sum(count(inner, primitive) for eqn in eqns for inner in core.jaxprs_in_params(eqn.params))
    return inside + sum(eqn.primitive.name == primitive for eqn in eqns)
