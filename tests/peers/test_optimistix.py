"""Roots, fixed points, minima and least squares by optimistix, differentiated in what the problem depends on.

By its implicit adjoint, the root y of f(y, θ) = 0 has ȳ ∂y/∂θ = −ȳ (∂f/∂y)⁻¹ ∂f/∂θ, whatever solver found it;
by its checkpointed one the gradient goes back through the solver's steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

optx = pytest.importorskip("optimistix")
lx = pytest.importorskip("lineax")

rng = np.random.default_rng(13)
MATRIX = 0.3 * rng.standard_normal((3, 3))
THETA = {"a": MATRIX, "b": np.array([0.4, -0.3, 0.8])}
TIMES = np.linspace(0.0, 2.0, 6)
SEEN = 1.3 * np.exp(-0.6 * TIMES) + 0.05 * np.cos(9 * TIMES)
THROUGH_STEPS = optx.RecursiveCheckpointAdjoint()
ITERATIVE = optx.ImplicitAdjoint(lx.GMRES(rtol=1e-6, atol=1e-6))


def residual(y, p):
    """Zero where y is the root; its Jacobian in y is near the unit matrix."""
    return y + 0.5 * jnp.tanh(p["a"] @ y) - p["b"]


def contraction(y, p):
    return jnp.sin(p["a"] @ y) + p["b"]


def bowl(y, p):
    """A convex function of y."""
    return jnp.sum((y - p["b"]) ** 2) + 0.5 * jnp.sum(jnp.cosh(p["a"] @ y))


def misfit(y, p):
    """How far amplitude · exp(−rate · t) is from what was seen, with weights."""
    return p["weights"] * (y["amplitude"] * jnp.exp(-y["rate"] * as_default(TIMES)) - p["seen"])


START = np.array([0.1, 0.2, -0.1])
GUESS = {"amplitude": np.array(1.0), "rate": np.array(0.5)}
SIGHT = {"weights": np.linspace(1.0, 0.7, 6), "seen": SEEN}


def answer(problem, function, solver, start=START, **how):
    """A loss of what a solver answers."""

    def loss(p):
        y = problem(
            function, solver, jax.tree.map(as_default, start), args=p, **{"max_steps": 64, **how}
        ).value
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(y))

    return loss


def root(solver, **how):
    return answer(optx.root_find, residual, solver, **how)


def fixed(solver, **how):
    return answer(optx.fixed_point, contraction, solver, **how)


def minimum(solver, **how):
    return answer(optx.minimise, bowl, solver, **how)


def fit(solver, **how):
    return answer(optx.least_squares, misfit, solver, start=GUESS, **how)


def scalar_root(y, p):
    return y**3 + p["b"][0] * y - 1 - jnp.sum(p["a"]) ** 2


def bracketed(p):
    how = {"options": {"lower": 0.0, "upper": 2.0}, "max_steps": 64}
    return optx.root_find(scalar_root, optx.Bisection(1e-6, 1e-6), 0.5, args=p, **how).value ** 2


def golden(p):
    how = {"options": {"lower": -2.0, "upper": 2.0}, "max_steps": 64}
    y = optx.minimise(
        lambda y, p: jnp.cosh(y - p["b"][0]) + y**2 * jnp.sum(p["a"] ** 2),
        optx.GoldenSearch(1e-4, 1e-4),
        jnp.asarray(0.1),
        args=p,
        **how,
    ).value
    return jnp.sin(y)


def of_pytrees(p):
    """A root with two parts of different shapes, found for a module's parameters."""

    def f(y, p):
        return {
            "u": y["u"] + 0.2 * jnp.sin(y["v"]) - p["b"],
            "v": 2 * y["v"] - jnp.sum(y["u"]) * p["a"][0, 0],
        }

    y0 = {"u": jnp.zeros(3, p["b"].dtype), "v": jnp.zeros((), p["b"].dtype)}
    y = optx.root_find(f, optx.Newton(1e-6, 1e-6), y0, args=p).value
    return jnp.sum(y["u"] ** 2) + jnp.sin(y["v"])


def many_roots(p):
    scales = jnp.asarray([0.5, 1.0, 1.5])

    def one(s):
        return optx.root_find(
            lambda y, p: s * residual(y, p) + y, optx.Newton(1e-6, 1e-6), p["b"], args=p
        ).value

    return jnp.sum(jax.vmap(one)(scales) ** 2)


def value_of_the_minimum(p):
    """By the envelope theorem this is the gradient with the minimum held."""
    y = optx.minimise(bowl, optx.BFGS(1e-6, 1e-6), p["b"], args=p).value
    return bowl(y, p)


def with_auxiliary(p):
    solution = optx.root_find(
        lambda y, p: (residual(y, p), jnp.sum(y * p["b"])),
        optx.Newton(1e-6, 1e-6),
        p["b"],
        args=p,
        has_aux=True,
    )
    return jnp.sum(solution.value) + jax.lax.stop_gradient(solution.aux)


def unsuccessful(p):
    """Two steps only, and no error for that: the gradient is that of the implicit function where they end."""
    solution = optx.root_find(residual, optx.Newton(1e-9, 1e-9), p["b"], args=p, max_steps=2, throw=False)
    return jnp.sum(jnp.sin(solution.value))


ROWS = [
    Row("root, Newton", root(optx.Newton(1e-6, 1e-6)), THETA, second=True),
    Row("root, Chord", root(optx.Chord(1e-5, 1e-5)), THETA),
    Row("root, Dogleg", root(optx.Dogleg(1e-5, 1e-5)), THETA, turns=6),
    Row("root, Newton by GMRES back", root(optx.Newton(1e-6, 1e-6), adjoint=ITERATIVE), THETA),
    Row(
        "root, Newton through its steps", root(optx.Newton(1e-6, 1e-6), adjoint=THROUGH_STEPS), THETA, turns=6
    ),
    Row("root, Bisection", bracketed, THETA),
    Row("root, LevenbergMarquardt", root(optx.LevenbergMarquardt(1e-5, 1e-5)), THETA, turns=6),
    Row("root of a pytree", of_pytrees, THETA),
    Row("root, vmap", many_roots, THETA, turns=6),
    Row("root, has_aux", with_auxiliary, THETA),
    Row("root, two steps", unsuccessful, THETA),
    Row("fixed point", fixed(optx.FixedPointIteration(1e-6, 1e-6)), THETA, second=True),
    Row("fixed point, Newton", fixed(optx.Newton(1e-6, 1e-6)), THETA, turns=6),
    Row(
        "fixed point through its steps",
        fixed(optx.FixedPointIteration(1e-6, 1e-6), adjoint=THROUGH_STEPS),
        THETA,
    ),
    Row("minimum, BFGS", minimum(optx.BFGS(1e-4, 1e-4)), THETA),
    Row("minimum, LBFGS", minimum(optx.LBFGS(1e-4, 1e-4)), THETA, turns=6),
    Row("minimum, NonlinearCG", minimum(optx.NonlinearCG(1e-4, 1e-4)), THETA, turns=6),
    Row("minimum, GradientDescent", minimum(optx.GradientDescent(0.2, 1e-4, 1e-4)), THETA, turns=6),
    Row(
        "minimum, GradientDescent through its steps",
        minimum(optx.GradientDescent(0.2, 1e-4, 1e-4), adjoint=THROUGH_STEPS),
        THETA,
        turns=6,
    ),
    Row("minimum, NelderMead", minimum(optx.NelderMead(1e-3, 1e-3), max_steps=200), THETA, turns=6),
    Row(
        "minimum, BFGS through its steps",
        minimum(optx.BFGS(1e-4, 1e-4), adjoint=THROUGH_STEPS),
        THETA,
        turns=6,
    ),
    Row("minimum, best so far", minimum(optx.BestSoFarMinimiser(optx.BFGS(1e-4, 1e-4))), THETA, turns=6),
    Row("minimum, GoldenSearch", golden, THETA, turns=6),
    Row("value of the minimum", value_of_the_minimum, THETA),
    Row("least squares, LevenbergMarquardt", fit(optx.LevenbergMarquardt(1e-5, 1e-5)), SIGHT),
    Row("least squares, GaussNewton", fit(optx.GaussNewton(1e-5, 1e-5)), SIGHT),
    Row(
        "least squares, GaussNewton through its steps",
        fit(optx.GaussNewton(1e-5, 1e-5), adjoint=THROUGH_STEPS),
        SIGHT,
        turns=6,
    ),
    Row("least squares, Dogleg", fit(optx.Dogleg(1e-5, 1e-5)), SIGHT, turns=6),
    Row("least squares, BFGS", fit(optx.BFGS(1e-4, 1e-4)), SIGHT, turns=6),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
