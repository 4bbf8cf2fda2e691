"""jaxopt: solutions of optimization problems, differentiated in the problem; projections, losses, loops.

By default a solver's `run` is a `custom_vjp` by the implicit function theorem: with the optimality condition
F(x, θ) = 0 its way back solves a system with ∂F/∂x. With `implicit_diff=False` the iterations are unrolled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

jaxopt = pytest.importorskip("jaxopt")
perturbations = pytest.importorskip("jaxopt.perturbations")

rng = np.random.default_rng(13)
X, Y = rng.standard_normal((6, 3)), rng.standard_normal(6)
LABELS = np.array([0, 2, 1, 1])
SCORES = rng.standard_normal((4, 3))
MATRIX = rng.standard_normal((3, 3))
START = np.array([0.1, -0.2, 0.3])
RIDGE = {"strength": np.array(0.7), "y": Y}
ITERATION = {"a": 0.3 * MATRIX, "b": START}
FOUR = {"maxiter": 4, "tol": 0.0, "implicit_diff": False}
"""As many iterations in every precision, unrolled."""


def ridge(w, p):
    return jnp.mean((as_default(X) @ w - p["y"]) ** 2) + p["strength"] * jnp.sum(jnp.cosh(w) - 1)


def residuals(w, p):
    return jnp.concatenate([as_default(X) @ w - p["y"], p["strength"] * jnp.sin(w)])


def minimum(solver, **how):
    """A loss of the minimum that a solver finds, in the problem's parameters."""

    def loss(p):
        w = solver(ridge, **{"maxiter": 100, "tol": 1e-5, **how}).run(as_default(START), p=p).params
        return jnp.sum(jnp.sin(w))

    return loss


def least_squares(solver, **how):
    def loss(p):
        w = solver(residuals, **{"maxiter": 20, "tol": 1e-5, **how}).run(as_default(START), p).params
        return jnp.sum(jnp.sin(w))

    return loss


def fixed_point(solver, **how):
    def loss(p):
        def step(x, p):
            return jnp.sin(p["a"] @ x) + p["b"]

        x = solver(step, **{"maxiter": 60, "tol": 1e-6, **how}).run(as_default(START), p).params
        return jnp.sum(x**2)

    return loss


def lasso(p):
    solver = jaxopt.ProximalGradient(
        lambda w, p: jnp.mean((as_default(X) @ w - p["y"]) ** 2),
        jaxopt.prox.prox_lasso,
        maxiter=200,
        tol=1e-5,
    )
    w = solver.run(as_default(START), hyperparams_prox=0.1 * p["strength"], p=p).params
    return jnp.sum(jnp.sin(w))


def on_the_simplex(p):
    solver = jaxopt.ProjectedGradient(ridge, jaxopt.projection.projection_simplex, maxiter=100, tol=1e-5)
    return jnp.sum(solver.run(jnp.ones(3) / 3, p=p).params * jnp.arange(3.0))


def quadratic_program(p):
    """½ x Q x + c x with an equality, by its KKT conditions."""
    q = p["a"] @ p["a"].T + jnp.eye(3)
    ones = jnp.ones((1, 3), p["b"].dtype)
    x = (
        jaxopt.EqualityConstrainedQP()
        .run(params_obj=(q, p["b"]), params_eq=(ones, ones[0, :1]))
        .params.primal
    )
    return jnp.sum(jnp.sin(x))


def bisection(p):
    def f(x, p):
        return x**3 + x - jnp.sum(p["b"] ** 2) - 1

    return (
        jaxopt.Bisection(f, lower=0.0, upper=2.0, maxiter=40, tol=1e-6, check_bracket=False).run(p=p).params
        ** 2
    )


def custom_root(p):
    """The decorator: a solver of one's own, and the condition that its result fulfils."""

    @jaxopt.implicit_diff.custom_root(jax.grad(ridge))
    def solve(start, p):
        a = 2 * as_default(X).T @ as_default(X) / 6 + p["strength"] * jnp.eye(3)
        w = jnp.linalg.solve(a, 2 * as_default(X).T @ p["y"] / 6)
        for _ in range(4):
            w = w - jnp.linalg.solve(jax.hessian(ridge)(w, p), jax.grad(ridge)(w, p))
        return w

    return jnp.sum(jnp.sin(solve(None, p)))


def solved(solve, definite=False):
    def loss(p):
        a = p["a"] @ p["a"].T + jnp.eye(3) if definite else p["a"] + 2 * jnp.eye(3)
        return jnp.sum(jnp.sin(solve(lambda x: a @ x, p["b"])))

    return loss


def projected(project, *more):
    return lambda x: jnp.sum(jnp.arange(1.0, 4.0) * project(x, *more) ** 2)


def loop(**how):
    def loss(p):
        def step(x):
            return jnp.sin(p["a"] @ x) + p["b"]

        return jnp.sum(
            jaxopt.loop.while_loop(lambda x: jnp.sum(x) < 9.0, step, p["b"], maxiter=4, **how) ** 2
        )

    return loss


def perturbed(x):
    noisy = perturbations.make_perturbed_argmax(
        lambda s: jax.nn.one_hot(jnp.argmax(s), 3), num_samples=8, sigma=0.5
    )
    return jnp.sum(jnp.arange(3.0) * noisy(x, jax.random.key(1)))


ROWS = [
    Row("GradientDescent", minimum(jaxopt.GradientDescent), RIDGE),
    Row("GradientDescent, unrolled", minimum(jaxopt.GradientDescent, **FOUR), RIDGE, turns=6),
    Row("BFGS", minimum(jaxopt.BFGS, linesearch="backtracking"), RIDGE, turns=6),
    Row("LBFGS", minimum(jaxopt.LBFGS), RIDGE, turns=6),
    Row("NonlinearCG", minimum(jaxopt.NonlinearCG), RIDGE, turns=6),
    Row("PolyakSGD, unrolled", minimum(jaxopt.PolyakSGD, **FOUR), RIDGE, turns=6),
    Row("GaussNewton", least_squares(jaxopt.GaussNewton), RIDGE),
    Row("LevenbergMarquardt", least_squares(jaxopt.LevenbergMarquardt), RIDGE, turns=6),
    Row("FixedPointIteration", fixed_point(jaxopt.FixedPointIteration), ITERATION),
    Row("AndersonAcceleration", fixed_point(jaxopt.AndersonAcceleration), ITERATION, turns=6),
    Row("ProximalGradient of a lasso", lasso, RIDGE),
    Row("ProjectedGradient onto the simplex", on_the_simplex, RIDGE, turns=6),
    Row("EqualityConstrainedQP", quadratic_program, ITERATION, turns=6),
    Row("Bisection", bisection, ITERATION),
    Row("custom_root", custom_root, RIDGE),
    Row("solve_cg", solved(jaxopt.linear_solve.solve_cg, definite=True), ITERATION),
    Row("solve_normal_cg", solved(jaxopt.linear_solve.solve_normal_cg), ITERATION, turns=6),
    Row("solve_lu", solved(jaxopt.linear_solve.solve_lu), ITERATION),
    Row("projection_simplex", projected(jaxopt.projection.projection_simplex), START),
    Row("projection_l1_ball", projected(jaxopt.projection.projection_l1_ball, 0.4), START),
    Row("projection_l2_ball", projected(jaxopt.projection.projection_l2_ball, 0.2), START),
    Row(
        "projection_box_section",
        projected(jaxopt.projection.projection_box_section, (np.zeros(3), np.ones(3), np.ones(3), 1.0)),
        np.array([0.3, 0.5, 0.4]),
    ),
    Row("while_loop, by scan", loop(unroll=True, jit=True), ITERATION),
    Row("make_perturbed_argmax", perturbed, START),
    Row(
        "multiclass_sparsemax_loss",
        lambda s: jnp.sum(jax.vmap(jaxopt.loss.multiclass_sparsemax_loss)(jnp.asarray(LABELS), s)),
        SCORES,
    ),
    Row(
        "multiclass_logistic_loss",
        lambda s: jnp.sum(jax.vmap(jaxopt.loss.multiclass_logistic_loss)(jnp.asarray(LABELS), s)),
        SCORES,
    ),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
