"""Custom rules of other packages, where to check them, and which of them are wrong.

Which are wrong was found with differences in float64 and, for the densities, with mpmath: see `wrong`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks.strangers.rows import normal, of_package, uniform


def rule(name, *args, call=None, wrong="", open=""):
    return of_package("rules", name, *args, call=call, wrong=wrong, open=open)


unit = uniform(0.2, 0.8, 6)
square = normal(4, 4) + 3 * np.eye(4, dtype=np.float32)
labels = np.eye(5, dtype=np.float32)[[0, 2, 4]]
quaternion = np.array([0.1, 0.7, -0.5, 0.5], np.float32)
box = 2 * np.eye(3, dtype=np.float32) + 0.1 * normal(3, 3)

waves = np.sin(np.arange(15, dtype=np.float32) ** 2).reshape(3, 5)
tokens = np.cos(np.arange(60, dtype=np.float32) ** 2).reshape(12, 5)
positive = waves.T @ waves + np.eye(5, dtype=np.float32)
solved = positive @ np.array([1, -0.5, 2, 0.7, -1.5], np.float32)


def looped(while_loop):
    """1.1 sin(…) five times."""

    def step(carry):
        return carry[0] + 1, 1.1 * jnp.sin(carry[1])

    return lambda x: while_loop(lambda c: c[0] < 5, step, (0, x), kind="checkpointed", max_steps=8)[1]


def power_law(method):
    """A method of the density x^α on (low, high)."""

    def call(law):
        return lambda x, alpha, low, high: getattr(law(alpha, low, high, validate_args=False), method)(x)

    return call


def root(find):
    """The root of y³ + a y = b, by Newton."""
    import optimistix

    solver = optimistix.Newton(rtol=1e-12, atol=1e-12)
    return lambda a, b: find(lambda y, _: y**3 + a * y - b, solver, jnp.ones_like(b)).value


def least_squares(solve):
    """The θ for which Σ (exp(−θ t) − y)² is smallest."""
    import optimistix

    solver = optimistix.LevenbergMarquardt(rtol=1e-12, atol=1e-12)
    t = jnp.linspace(0.1, 2, 6)
    return lambda y: (
        solve(lambda theta, y: jnp.exp(-theta[0] * t) * theta[1] - y, solver, jnp.ones(2), y).value
    )


def squares(w, penalty, x, y):
    """The loss of ridge regression."""
    return jnp.mean((x @ w - y) ** 2) + penalty * jnp.sum(w**2)


def descent(solver):
    """Ridge regression by gradient descent."""
    from jaxopt.linear_solve import solve_lu

    options = {"stepsize": 0.2, "maxiter": 500, "acceleration": False, "implicit_diff_solve": solve_lu}
    solver = solver(squares, tol=1e-14, **options)
    return lambda penalty, x, y: solver.run(jnp.zeros(x.shape[1], x.dtype), penalty, x, y).params


def ridge(custom_root):
    """Ridge regression by the normal equations."""
    from jaxopt.linear_solve import solve_lu

    @custom_root(jax.grad(squares), solve=solve_lu)
    def solution(_, penalty, x, y):
        n, features = x.shape
        return jnp.linalg.solve(x.T @ x / n + penalty * jnp.eye(features, dtype=x.dtype), x.T @ y / n)

    return lambda penalty, x, y: solution(jnp.zeros(x.shape[1], x.dtype), penalty, x, y)


def perturbed(make):
    """An argmax, smoothed by 20 random draws."""
    one_hot = make(lambda x: jax.nn.one_hot(jnp.argmax(x), x.size, dtype=x.dtype), num_samples=20)
    return lambda x: one_hot(x, jax.random.key(0))


def oscillator(solve, adjoint):
    """The end of a damped oscillation."""
    import diffrax

    def field(t, y, args):
        stiffness, damping = args
        return jnp.stack([y[1], -stiffness * y[0] - damping * y[1]])

    control = diffrax.PIDController(rtol=1e-9, atol=1e-9)
    options = {"stepsize_controller": control, "adjoint": getattr(diffrax, adjoint)(), "max_steps": 512}

    def end(y, stiffness, damping):
        args = (stiffness, damping)
        term, solver = diffrax.ODETerm(field), diffrax.Dopri5()
        return solve(term, solver, 0.0, 1.0, 0.1, y, args, **options).ys[0]

    return end


def chunked(cross_entropy, **options):
    """Of three examples, four of the twelve classes at a time."""
    labels = np.array([0, 7, 10])
    return lambda x, w: cross_entropy(x, w, labels, chunk_size=4, **options)


def quantized(qdq):
    """Rounded to 8 bits and back."""
    return lambda x: qdq(x.dtype, jnp.float8_e4m3fn, x, jnp.ones(1), jnp.zeros(4))


RULES = (
    rule("jax.nn:relu", normal(8)),
    rule("jax.nn:relu6", 4 * normal(8)),
    rule("jax.nn:softmax", normal(3, 5)),
    rule("jax.numpy:logaddexp", normal(5), normal(5)),
    rule("jax.numpy.linalg:det", square),
    rule("jax.numpy.linalg:det, complex", square + 1j * normal(4, 4)),
    rule("jax.numpy.linalg:slogdet", square),
    rule("jax.numpy.linalg:pinv", normal(5, 3)),
    rule("jax.scipy.special:logit", unit),
    rule("jax.scipy.special:xlogy", unit, unit[::-1].copy()),
    rule("jax.scipy.special:xlog1py", normal(5), uniform(0.1, 2, 5)),
    rule("jax.scipy.special:expi", uniform(0.3, 3, 5)),
    rule("jax.scipy.special:expn", uniform(0.3, 3, 5), call=lambda f: lambda x: f(2, x)),
    rule("optax:scale_gradient", normal(6), call=lambda f: lambda x: f(x, 0.5), wrong="scaled on purpose"),
    rule("optax.projections:projection_simplex", normal(8)),
    rule("optax.projections:projection_simplex, at a vertex", np.array([4, 0.5, -1, 0.2], np.float32)),
    rule("optax.projections:projection_l2_ball", normal(5), call=lambda f: lambda x: f(x, 1.0)),
    rule("optax.losses._classification:weighted_logsoftmax", normal(3, 5), uniform(0.5, 2, 3, 5)),
    rule(
        "flax.linen.fp8_ops:in_qdq",
        normal(6),
        call=quantized,
        open="a cast to float8 is rounding, to the check as to autodiff, and hides every gradient",
    ),
    rule(
        "flax.linen.fp8_ops:out_qdq",
        normal(6),
        call=quantized,
        wrong="the identity, whose gradient is rounded to 8 bits on purpose",
    ),
    rule(
        "flax.linen.fp8_ops:dot_general_with_precision",
        normal(3, 4),
        normal(4, 2),
        call=lambda f: lambda a, b: f(a, b, (((1,), (0,)), ((), ()))),
    ),
    rule("equinox.internal:while_loop", normal(4), call=looped),
    rule("equinox.internal:nextafter", normal(5)),
    rule("equinox.debug:backward_nan", normal(3), call=lambda f: lambda x: f(x * x, terminate=False)),
    rule("equinox:error_if", normal(3), call=lambda f: lambda x: f(x**2, x[0] > 1e9, "too large")),
    rule("lineax.internal:two_norm", normal(5)),
    rule("lineax.internal:two_norm, complex", normal(5) + 1j * normal(5)),
    rule("lineax.internal:max_norm", normal(5)),
    rule(
        "lineax:linear_solve",
        square,
        normal(4),
        call=lambda f: lambda a, b: f(__import__("lineax").MatrixLinearOperator(a), b).value,
    ),
    rule("optimistix:root_find", uniform(1, 2, 3), normal(3), call=root),
    rule("optimistix:least_squares", np.exp(-np.linspace(0.1, 2, 6)).astype(np.float32), call=least_squares),
    rule("jaxopt.projection:projection_simplex", normal(8)),
    rule(
        "jaxopt.projection:projection_sparse_simplex",
        normal(8),
        call=lambda f: lambda x: f(x, 3),
    ),
    rule("jaxopt:GradientDescent", np.float32(0.3), normal(6, 3), normal(6), call=descent),
    rule("jaxopt.implicit_diff:custom_root", np.float32(0.3), normal(6, 3), normal(6), call=ridge),
    rule("jaxopt.isotonic:isotonic_l2_pav", normal(6)),
    rule(
        "jaxopt.perturbations:make_perturbed_argmax",
        normal(4),
        call=perturbed,
        wrong="a Monte Carlo estimate of the gradient of an expectation, not of the step function",
    ),
    rule("numpyro.distributions.util:log1mexp", -uniform(0.2, 3, 6)),
    rule(
        "numpyro.distributions:DoublyTruncatedPowerLaw, log_prob",
        *(np.float32(x) for x in (2.0, -1.5, 1.0, 4.0)),
        call=power_law("log_prob"),
        wrong="the derivatives in low and high",
    ),
    rule(
        "numpyro.distributions:DoublyTruncatedPowerLaw, cdf",
        *(np.float32(x) for x in (2.0, -1.5, 1.0, 4.0)),
        call=power_law("cdf"),
    ),
    rule(
        "numpyro.distributions:DoublyTruncatedPowerLaw, icdf",
        *(np.float32(x) for x in (0.4, -1.5, 1.0, 4.0)),
        call=power_law("icdf"),
    ),
    rule("tensorflow_probability.substrates.jax.math:log_cosh", normal(6)),
    rule("tensorflow_probability.substrates.jax.math:dawsn", normal(6)),
    rule("tensorflow_probability.substrates.jax.math:erfcx", normal(6)),
    rule("tensorflow_probability.substrates.jax.math:lambertw", uniform(0.2, 3, 6)),
    rule("tensorflow_probability.substrates.jax.math:lbeta", uniform(0.5, 3, 4), uniform(0.5, 3, 4)),
    rule("tensorflow_probability.substrates.jax.math:owens_t", normal(4), normal(4)),
    rule("tensorflow_probability.substrates.jax.math:igammainv", uniform(1, 3, 4), uniform(0.2, 0.8, 4)),
    rule(
        "tensorflow_probability.substrates.jax.math:bessel_ive",
        uniform(0.5, 3, 4),
        call=lambda f: lambda z: f(1.5, z),
    ),
    rule("e3nn_jax:spherical_harmonics", normal(4, 3), call=lambda f: lambda x: f("1o + 2e", x, True).array),
    rule(
        "e3nn_jax._src.utils.einsum:einsum",
        normal(3, 4),
        normal(4, 2),
        call=lambda f: lambda a, b: f("ij,jk->ik", a, b),
    ),
    rule(
        "e3nn_jax._src.utils.einsum:einsum, complex",
        normal(3, 4) + 1j * normal(3, 4),
        normal(4, 2),
        call=lambda f: lambda a, b: f("ij,jk->ik", a, b),
    ),
    rule("jax_md._nn.uma.common.rotation:safe_acos", uniform(-0.8, 0.8, 5)),
    rule("jax_md._nn.uma.common.rotation:safe_atan2", normal(5), normal(5)),
    rule(
        "jax_md._nn.uma.kernels:_segment_mm_2d",
        normal(5, 3),
        normal(2, 4, 3),
        call=lambda f: lambda x, weights: f(x, weights, jnp.array([2, 3])),
    ),
    rule("jax_md.mm_forcefields.reaxff.reaxff_helper:safe_sqrt", uniform(0.5, 3, 5)),
    rule(
        "jax_md.rigid_body:_quaternion_rotate",
        quaternion,
        normal(3),
        wrong="the gradient in q has lost its component along q",
    ),
    rule("jax_md.space:transform", box, normal(3), wrong="not multiplied by the box on purpose"),
    rule(
        "diffrax:diffeqsolve",
        normal(2),
        *map(np.float32, (2, 0.3)),
        call=lambda f: oscillator(f, "RecursiveCheckpointAdjoint"),
    ),
    rule("ott.math.utils:norm", waves[0]),
    rule(
        "ott.math.utils:norm, at 0",
        np.zeros(4, np.float32),
        wrong="the value beside the gradient is the norm of ones",
    ),
    rule(
        "ott.math.utils:softmin",
        waves,
        np.float32(0.1),
        call=lambda f: lambda x, gamma: f(x, gamma, -1),
        wrong="gamma has no gradient",
    ),
    rule("ott.math.utils:logsumexp", waves, call=lambda f: lambda x: f(x, 1, False, np.arange(1.0, 6.0))),
    rule("ott.math.utils:lambertw", np.linspace(0.2, 3, 5, dtype=np.float32)),
    rule("ott.math.matrix_square_root:sqrtm_only", positive),
    rule("ott.math.matrix_square_root:inv_sqrtm_only", positive),
    rule("jax_cce:linear_cross_entropy", waves, tokens, call=chunked),
    rule(
        "jax_cce:linear_cross_entropy, filtered",
        3 * waves,
        tokens,
        call=functools.partial(chunked, filter_eps=0.5),
        wrong="small terms are left out on purpose",
    ),
    rule("jaxnnls:solve_nnls_primal", solved, call=lambda f: lambda b: f(positive, b, 1e-9)),
    rule(
        "jaxnnls:solve_nnls_primal, relaxed",
        solved,
        call=lambda f: lambda b: f(positive, b),
        wrong="the gradient of a smoother problem, on purpose",
    ),
)
