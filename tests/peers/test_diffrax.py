"""Differential equations by diffrax: gradients in initial values, parameters of the field, and times.

The default adjoint goes back through the steps with checkpoints, the direct one through a bounded loop, the
implicit one through a steady state; BacksolveAdjoint solves the adjoint equation within a `custom_vjp`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, check, parametrize

dfx = pytest.importorskip("diffrax")

rng = np.random.default_rng(13)
POINT = {"y0": np.array([1.0, 0.3]), "w": 0.5 * rng.standard_normal((2, 2))}
TIMES = np.linspace(0.0, 1.0, 4)
FIXED = {"solver": dfx.Heun(), "dt0": 0.25, "max_steps": 8}
ADAPTIVE = {
    "solver": dfx.Tsit5(),
    "dt0": 0.3,
    "max_steps": 32,
    "stepsize_controller": dfx.PIDController(rtol=1e-3, atol=1e-4),
}


def field(t, y, p):
    return jnp.sin(p["w"] @ y) - 0.3 * t * y


def solve(p, vector_field=field, t1=1.0, **how):
    terms = dfx.ODETerm(vector_field)
    return dfx.diffeqsolve(terms, t0=0.0, t1=t1, y0=p["y0"], args=p, **how)


def weighted(ys):
    return jnp.sum(jnp.linspace(0.5, 1.5, ys.size).reshape(ys.shape) * ys**2)


def end(**how):
    """A loss of the value at the end."""
    return lambda p: weighted(solve(p, **how).ys)


def times(**how):
    """A loss of the values at several times."""
    return lambda p: weighted(solve(p, saveat=dfx.SaveAt(ts=jnp.asarray(TIMES)), **how).ys)


def dense(p):
    solution = solve(p, saveat=dfx.SaveAt(dense=True), **ADAPTIVE)
    return weighted(jax.vmap(solution.evaluate)(jnp.asarray([0.1, 0.45, 0.9])))


def every_step(p):
    solution = solve(p, saveat=dfx.SaveAt(steps=True, t0=True), **FIXED)
    return jnp.sum(jnp.where(jnp.isfinite(solution.ys), solution.ys, 0) ** 2)


def in_the_end_time(p):
    return weighted(solve(p, t1=p["t1"], **FIXED).ys)


def stiff(t, y, p):
    return -3 * p["w"].T @ p["w"] @ y - y**3 + 1


def steady(t, y, p):
    return p["b"] - y - 0.5 * jnp.tanh(p["w"] @ y)


def steady_state(p):
    """Where the solution comes to rest; the gradient is the implicit function theorem's."""
    ys = solve(
        p,
        steady,
        t1=50.0,
        solver=dfx.Heun(),
        dt0=0.2,
        stepsize_controller=dfx.PIDController(rtol=1e-3, atol=1e-4),
        event=dfx.Event(dfx.steady_state_event(rtol=1e-4, atol=1e-4)),
        adjoint=dfx.ImplicitAdjoint(),
        max_steps=256,
    ).ys
    return weighted(ys)


def until_an_event(p):
    """A ball's fall, stopped where its height is zero, in the height and speed at which it starts."""

    def fall(t, y, p):
        return jnp.stack([y[1], -9.8 + 0 * y[0]])

    solution = dfx.diffeqsolve(
        dfx.ODETerm(fall),
        dfx.Heun(),
        0.0,
        2.0,
        0.1,
        p["y0"],
        args=p,
        event=dfx.Event(lambda t, y, args, **_: y[0], dfx_root()),
        max_steps=32,
    )
    return weighted(solution.ys) + jnp.sum(p["w"]) ** 2


def dfx_root():
    return pytest.importorskip("optimistix").Newton(1e-5, 1e-5)


def stochastic(solver, **how):
    """dy = f dt + diag(w₀ y) dW along one Brownian path."""

    def loss(p):
        path = dfx.VirtualBrownianTree(0.0, 1.0, 0.1, (2,), jax.random.key(3))
        noise = dfx.ControlTerm(lambda t, y, p: jnp.diag(0.2 * p["w"][0] * y), path)
        terms = dfx.MultiTerm(dfx.ODETerm(field), noise)
        return weighted(
            dfx.diffeqsolve(terms, solver, 0.0, 1.0, 0.25, p["y0"], args=p, max_steps=8, **how).ys
        )

    return loss


def controlled(p):
    """dy = w y dX along a cubic spline through data: a neural CDE's core, in the data too."""
    ts = jnp.asarray(TIMES)
    path = dfx.CubicInterpolation(ts, dfx.backward_hermite_coefficients(ts, p["x"]))
    term = dfx.ControlTerm(lambda t, y, p: jnp.sin(p["w"] * y[:, None]), path).to_ode()
    return weighted(dfx.diffeqsolve(term, dfx.Heun(), 0.0, 1.0, 0.25, p["y0"], args=p, max_steps=8).ys)


def neural():
    """The field is a network, whose arrays are what is asked for."""
    arrays, rest = eqx.partition(
        eqx.nn.MLP(2, 2, 4, 1, jnp.tanh, key=jax.random.key(13)), eqx.is_inexact_array
    )

    def loss(arrays):
        net = eqx.combine(arrays, rest)
        p = {"y0": jnp.asarray([0.5, -0.2]), "net": net}
        return times(vector_field=lambda t, y, p: p["net"](y), **ADAPTIVE)(p)

    return loss, arrays


def batch(p):
    """Several initial values, each with steps of its own."""
    y0s = p["y0"] * jnp.asarray([[0.5], [1.0], [3.0]])
    return weighted(jax.vmap(lambda y0: solve({**p, "y0": y0}, **ADAPTIVE).ys)(y0s))


def pair_of_states(p):
    """A state that is a pytree, kicked and drifted in turns."""
    terms = (dfx.ODETerm(lambda t, v, p: v), dfx.ODETerm(lambda t, x, p: -jnp.sin(p["w"] @ x)))
    y0 = (p["y0"], p["y0"][::-1])
    ys = dfx.diffeqsolve(terms, dfx.SemiImplicitEuler(), 0.0, 1.0, 0.25, y0, args=p, max_steps=8).ys
    return weighted(ys[0]) + weighted(ys[1])


STEADY = {**POINT, "b": np.array([0.5, -0.4])}
IMPLICIT = {
    "vector_field": stiff,
    "dt0": 0.1,
    "max_steps": 32,
    "stepsize_controller": dfx.PIDController(rtol=1e-2, atol=1e-2),
}

ROWS = [
    Row("default adjoint", end(**FIXED), POINT),
    Row("default adjoint, adaptive", end(**ADAPTIVE), POINT, turns=12),
    Row("default adjoint, adaptive, at times", times(**ADAPTIVE), POINT),
    Row(
        "default adjoint, two checkpoints",
        end(adjoint=dfx.RecursiveCheckpointAdjoint(2), **FIXED),
        POINT,
        turns=12,
    ),
    Row("direct adjoint", end(adjoint=dfx.DirectAdjoint(), **FIXED), POINT, second=True, turns=12),
    Row("direct adjoint, adaptive, at times", times(adjoint=dfx.DirectAdjoint(), **ADAPTIVE), POINT),
    Row("backsolve adjoint", end(adjoint=dfx.BacksolveAdjoint(), **FIXED), POINT),
    Row(
        "backsolve adjoint, adaptive, at times",
        times(adjoint=dfx.BacksolveAdjoint(), **ADAPTIVE),
        POINT,
        turns=12,
    ),
    Row("implicit adjoint", steady_state, STEADY),
    Row("dense output", dense, POINT, turns=12),
    Row("every step", every_step, POINT, turns=12),
    Row("in the end time", in_the_end_time, {**POINT, "t1": np.array(0.9)}, turns=12),
    Row("event", until_an_event, POINT, turns=12),
    Row("Kvaerno3", end(solver=dfx.Kvaerno3(), **IMPLICIT), POINT, turns=12),
    Row("ImplicitEuler", end(solver=dfx.ImplicitEuler(), **IMPLICIT), POINT, turns=12),
    Row("Dopri5", end(**{**ADAPTIVE, "solver": dfx.Dopri5()}), POINT, turns=12),
    Row("reversible Heun", end(**{**FIXED, "solver": dfx.ReversibleHeun()}), POINT, turns=12),
    Row("Heun within half steps", end(**{**ADAPTIVE, "solver": dfx.HalfSolver(dfx.Heun())}), POINT, turns=12),
    Row("SDE, direct adjoint", stochastic(dfx.Heun(), adjoint=dfx.DirectAdjoint()), POINT),
    Row("SDE, EulerHeun", stochastic(dfx.EulerHeun()), POINT, turns=12),
    Row("SDE, ItoMilstein", stochastic(dfx.ItoMilstein()), POINT, turns=12),
    Row("SDE, backsolve", stochastic(dfx.Heun(), adjoint=dfx.BacksolveAdjoint()), POINT, turns=12),
    Row("CDE", controlled, {**POINT, "x": rng.standard_normal((4, 2))}, turns=12),
    Row("neural ODE", make=neural, turns=12),
    Row("vmap", batch, POINT, turns=12),
    Row("symplectic, of pytrees", pair_of_states, POINT, turns=12),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
