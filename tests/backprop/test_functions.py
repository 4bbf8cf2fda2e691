"""The functions of jax.nn, jax.scipy and jnp.linalg, and optax's losses: their gradients beside JAX's own.

One row a function, or a distribution with all its methods, in float64, with the gradients of all float
arguments. A function without a row stands in a list with the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import jax.scipy.special
import jax.scipy.stats
import numpy as np
import optax
import pytest
import scipy.special

import funcnet
from tests.backprop.compare import assert_close

TOLERANCE = 1e-10  # relative to the largest element of each gradient

rng = np.random.default_rng(231)
POINTS = np.array([-4, -3, -1, -0.7, -0.5, 0, 0.5, 0.7, 1, 3, 6, 7])  # with the kinks of all activations
REAL = np.array([-3.1, -1.2, -0.3, 0.2, 0.8, 2.6])
POSITIVE = np.array([0.1, 0.5, 0.9, 1.3, 2.0, 4.5])
FALLING = POSITIVE[::-1].copy()
FRACTIONS = np.array([0.05, 0.2, 0.4, 0.55, 0.8, 0.95])
VECTOR, SHIFTED = rng.normal(size=(2, 4))
MATRIX, OTHER = rng.normal(size=(2, 4, 4))
TALL = rng.normal(size=(4, 3))
SYMMETRIC, DEFINITE = MATRIX + MATRIX.T, MATRIX @ MATRIX.T + np.eye(4)
HEADS = rng.normal(size=(3, 2, 5, 2, 4))


@dataclass(frozen=True)
class Row:
    """A function and where to evaluate it: a gradient is asked for every float among the arguments."""

    name: str
    function: Callable[..., Any]
    arguments: Sequence[Any]
    tolerance: float = TOLERANCE

    def __str__(self) -> str:
        return self.name

    def loss(self, *args):
        """A weighted sum of all floats that the function returns."""
        ys = [y for y in jax.tree.leaves(self.function(*args)) if jnp.issubdtype(y.dtype, jnp.inexact)]
        weights = [np.cos(i + np.arange(1.0, y.size + 1)).reshape(y.shape) for i, y in enumerate(ys)]
        return sum(jnp.sum(w * (y.real + 0.7 * y.imag)) for w, y in zip(weights, ys, strict=True))


def functions(module):
    """The public functions of a module, by name."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {name: value for name, value in public.items() if callable(value)}


def rows(module, groups, more=(), without=()):
    """A row for each function of a module: groups of names that share their arguments, and others."""
    arguments = {name: args for names, args in groups for name in names.split()}
    missing = functions(module).keys() - arguments.keys() - {name for name, *_ in more} - set(without)
    assert not missing, f"{module.__name__} has functions without a row: {missing}"
    grouped = [Row(name, f, arguments[name]) for name, f in functions(module).items() if name in arguments]
    return grouped + [Row(name, function, args) for name, function, *args in more]


ACTIVATIONS = rows(
    jax.nn,
    [
        (
            "celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh identity leaky_relu log_sigmoid "
            "log_softmax logmeanexp logsumexp mish relu relu6 selu sigmoid silu soft_sign softmax softplus "
            "sparse_plus sparse_sigmoid squareplus standardize swish tanh",
            [POINTS],
        ),
        ("log1mexp", [POSITIVE]),
    ],
    [
        ("gelu, exact", lambda x: jax.nn.gelu(x, approximate=False), POINTS),
        ("celu, alpha", jax.nn.celu, POINTS, 1.7),
        ("elu, alpha", jax.nn.elu, POINTS, 1.7),
        ("leaky_relu, slope", jax.nn.leaky_relu, POINTS, 0.3),
        ("squareplus, b", jax.nn.squareplus, POINTS, 2.0),
        ("softmax, masked", lambda x: jax.nn.softmax(x, where=jnp.arange(12) % 3 > 0), POINTS),
        ("logsumexp, weighted", lambda x, b: jax.nn.logsumexp(x, b=b), POINTS, POINTS + 0.1),
        ("logsumexp, of −∞", lambda x: jax.nn.logsumexp(jnp.where(x > 0, x, -jnp.inf)), POINTS),
    ],
    without={
        "dot_product_attention": "in SINGLE",
        "one_hot": "of integers",
        "get_scaled_dot_general_config": "returns a configuration",
        "scaled_dot_general": "needs an accelerator's block-scaled product",
        "scaled_matmul": "needs an accelerator's block-scaled product",
    },
)


def spherical_harmonic(theta, phi):
    return jax.scipy.special.sph_harm_y(jnp.array([2]), jnp.array([1]), theta, phi, n_max=2)


SPECIAL = rows(
    jax.scipy.special,
    [
        ("dawsn erf erfc erfcx expi expit i0 i0e i1 i1e log_ndtr log_softmax logsumexp ndtr softmax", [REAL]),
        ("digamma entr exp1 factorial fresnel gamma gammaln loggamma sici", [POSITIVE]),
        ("beta betaln gammainc gammaincc kl_div poch rel_entr xlog1py xlogy", [POSITIVE, FALLING]),
        ("boxcox boxcox1p", [POSITIVE, REAL]),
        ("erfcinv erfinv logit ndtri spence", [FRACTIONS]),
        ("comb", [POSITIVE + 5, POSITIVE]),
        ("hyp1f1", [POSITIVE, FALLING, FRACTIONS]),
        ("owens_t", [REAL, POSITIVE]),
        ("polygamma", [np.array([0, 1, 2, 3, 1, 2]), POSITIVE]),
        ("wofz", [REAL + 1j * POSITIVE]),
        ("zeta", [POSITIVE + 2, FALLING]),
    ],
    [
        ("sph_harm_y", spherical_harmonic, np.array([0.3]), np.array([0.4])),
        ("bessel_jn", lambda x: jax.scipy.special.bessel_jn(x, v=3), POSITIVE),
        ("betainc", lambda x: jax.scipy.special.betainc(2.5, 1.5, x), FRACTIONS),
        ("hyp2f1", lambda x: jax.scipy.special.hyp2f1(2.5, 1.5, 1.7, x), FRACTIONS),
        ("expn", lambda x: jax.scipy.special.expn(2, x), POSITIVE),
        ("multigammaln", lambda a: jax.scipy.special.multigammaln(a, 3), POSITIVE + 2),
    ],
    without={"bernoulli": "of integers", "gammasgn": "piecewise constant"},
)

DISTRIBUTIONS = {  # x and the parameters
    "beta": [FRACTIONS, 2.5, 1.5],
    "betabinom": [np.array([0, 2, 5]), 5, 1.5, 2.5],
    "binom": [np.array([0, 2, 5]), 5, 0.3],
    "bernoulli": [np.array([0, 1, 1]), 0.3],
    "cauchy": [REAL, 0.3, 1.2],
    "chi2": [POSITIVE, 3.5, 0.01, 1.2],
    "dirichlet": [np.array([0.2, 0.5, 0.3]), np.array([1.5, 2.5, 0.7])],
    "expon": [POSITIVE, 0.01, 1.2],
    "gamma": [POSITIVE, 2.5, 0.01, 1.2],
    "gennorm": [REAL, 1.5],
    "geom": [np.array([1, 2, 5]), 0.3],
    "gumbel_l": [REAL, 0.3, 1.2],
    "gumbel_r": [REAL, 0.3, 1.2],
    "laplace": [REAL, 0.3, 1.2],
    "logistic": [REAL, 0.3, 1.2],
    "multinomial": [np.array([2, 1, 3]), 6, np.array([0.2, 0.5, 0.3])],
    "multivariate_normal": [VECTOR, SHIFTED, DEFINITE],
    "nbinom": [np.array([0, 2, 5]), 5, 0.3],
    "norm": [REAL, 0.3, 1.2],
    "pareto": [POSITIVE + 2, 2.5, 0.01, 1.2],
    "poisson": [np.array([0, 2, 5]), 2.5],
    "t": [REAL, 3.5, 0.3, 1.2],
    "truncnorm": [FRACTIONS, -1.5, 2.5, 0.01, 1.2],
    "uniform": [FRACTIONS, 0.01, 1.2],
    "vonmises": [REAL, 1.3],
    "wrapcauchy": [FRACTIONS, 0.4],
}
FIXED = {  # differentiated in x only
    "beta": "the gradients of betainc in a and b are beyond JAX",
    "gumbel_l": "JAX's rule for xlogy of an integer multiplies a float0",
    "gumbel_r": "likewise",
    "truncnorm": "the gradients of its four parameters compile for ten seconds",
}


def distribution(name, x, *parameters):
    """The methods of a distribution in one row: without pdf where there is logpdf, of which it is made."""
    methods = functions(getattr(jax.scipy.stats, name))

    def every(x, quantiles=FRACTIONS, *parameters_):
        rest = parameters_ or parameters
        arguments = {"ppf": (quantiles, *rest), "isf": (quantiles, *rest), "entropy": rest}
        return {
            method: function(*arguments.get(method, (x, *rest)))
            for method, function in methods.items()
            if f"log{method}" not in methods
        }

    return Row(name, every, [x] if name in FIXED else [x, FRACTIONS, *parameters])


assert DISTRIBUTIONS.keys() == {
    name for name, value in vars(jax.scipy.stats).items() if isinstance(value, ModuleType)
}
STATS = [
    *(distribution(name, *arguments) for name, arguments in DISTRIBUTIONS.items()),
    Row(
        "gaussian_kde",
        lambda data, x, weights: jax.scipy.stats.gaussian_kde(data, weights=weights).logpdf(x),
        [*rng.normal(size=(2, 2, 5)), rng.uniform(size=5)],
    ),
    Row("sem", jax.scipy.stats.sem, [VECTOR]),
]

NO_GRADIENT = "JAX has no gradient for the factorization behind it"
SCIPY_LINALG = rows(
    jax.scipy.linalg,
    [
        ("block_diag", [MATRIX, TALL]),
        ("det expm inv lu lu_factor", [DEFINITE]),
        ("circulant companion fiedler fiedler_companion hankel", [VECTOR]),
        ("eigh", [SYMMETRIC]),
        ("expm_frechet", [MATRIX, OTHER]),
        ("leslie", [VECTOR, VECTOR[1:]]),
        ("qr", [TALL]),
        ("solve solve_triangular", [MATRIX, VECTOR]),
        ("svd", [MATRIX]),
        ("toeplitz", [VECTOR, SHIFTED]),
    ],
    [
        ("cho_factor", lambda a: jax.scipy.linalg.cho_factor(a + a.T)[0], DEFINITE),
        ("cholesky", lambda a: jax.scipy.linalg.cholesky(a + a.T), DEFINITE),  # reads one triangle only
        ("cho_solve", lambda c, b: jax.scipy.linalg.cho_solve((c, True), b), MATRIX, VECTOR),
        ("convolution_matrix", lambda x: jax.scipy.linalg.convolution_matrix(x, 3), VECTOR),
        (
            "lu_solve",
            lambda a, b: jax.scipy.linalg.lu_solve(jax.scipy.linalg.lu_factor(a), b),
            MATRIX,
            VECTOR,
        ),
        ("polar", lambda a: jax.scipy.linalg.polar(a, method="svd"), MATRIX),
    ],
    without={
        **dict.fromkeys(
            ["dft", "hadamard", "helmert", "hilbert", "invhilbert", "invpascal", "pascal"], "of integers"
        ),
        **dict.fromkeys(["funm", "hessenberg", "rsf2csf", "schur", "solve_sylvester", "sqrtm"], NO_GRADIENT),
        "qr_multiply": NO_GRADIENT,
        "eigh_tridiagonal": "bisection: a while loop of comparisons, which JAX refuses",
    },
)

NUMPY_LINALG = rows(
    jnp.linalg,
    [
        (
            "cond det diagonal eigvals inv matrix_norm matrix_transpose norm pinv slogdet svd svdvals trace "
            "vector_norm",
            [MATRIX],
        ),
        ("cholesky", [DEFINITE]),
        ("cross", [VECTOR[1:], SHIFTED[1:]]),
        ("eigh eigvalsh", [SYMMETRIC]),
        ("lstsq", [TALL, VECTOR]),
        ("matmul solve tensordot", [MATRIX, OTHER]),
        ("outer", [VECTOR, SHIFTED]),
        ("qr", [TALL]),
        ("tensorsolve", [rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3))]),
        ("vecdot", [MATRIX, OTHER]),
    ],
    [
        ("matrix_power", lambda a: jnp.linalg.matrix_power(a, -5), MATRIX),
        ("multi_dot", lambda *matrices: jnp.linalg.multi_dot(matrices), MATRIX, OTHER, TALL),
        ("tensorinv", lambda a: jnp.linalg.tensorinv(a, 1), rng.normal(size=(6, 2, 3))),
    ],
    without={"eig": "JAX leaves the gradient of the vectors out", "matrix_rank": "an integer"},
)

PREDICTED, TARGET = rng.normal(size=(2, 4, 3))
SIGNS, LABELS = np.sign(TARGET), np.array([0, 2, 1, 2])
LOG_P, ALL_P = scipy.special.log_softmax(PREDICTED, axis=-1), scipy.special.softmax(TARGET, axis=-1)
LOSSES = rows(
    optax.losses,
    [
        ("cosine_distance cosine_similarity huber_loss l2_loss log_cosh squared_error", [PREDICTED, TARGET]),
        ("hinge_loss perceptron_loss", [PREDICTED, SIGNS]),
        (
            "binary_dice_loss dice_loss poly_loss_cross_entropy "
            "ranking_softmax_loss safe_softmax_cross_entropy sigmoid_binary_cross_entropy sigmoid_focal_loss "
            "softmax_cross_entropy",
            [PREDICTED, ALL_P],
        ),
        ("generalized_kl_divergence kl_divergence", [LOG_P, ALL_P]),
        ("kl_divergence_with_log_targets", [LOG_P, TARGET]),
        (
            "multiclass_hinge_loss multiclass_perceptron_loss multiclass_sparsemax_loss ntxent "
            "softmax_cross_entropy_with_integer_labels",
            [PREDICTED, LABELS],
        ),
        ("smooth_labels", [ALL_P, 0.1]),
        ("sparsemax_loss", [VECTOR, np.array([0, 1, 1, 0])]),
        ("triplet_margin_loss", [PREDICTED, TARGET, TARGET[::-1].copy()]),
    ],
    [
        (
            "ctc_loss",
            lambda scores: optax.ctc_loss(
                scores, np.zeros((2, 5)), np.array([[1, 2], [2, 2]]), np.zeros((2, 2))
            ),
            rng.normal(size=(2, 5, 4)),
        ),
        (
            "make_fenchel_young_loss",
            optax.losses.make_fenchel_young_loss(jax.scipy.special.logsumexp),
            PREDICTED[0],
            ALL_P[0],
        ),
    ],
    without={
        "convex_kl_divergence": "deprecated for generalized_kl_divergence",
        "ctc_loss_with_forward_probs": "ctc_loss is one of its results",
        "multiclass_generalized_dice_loss": "in SINGLE",
    },
)

SINGLE = [
    Row("dot_product_attention", jax.nn.dot_product_attention, HEADS, 1e-5),
    Row(
        "multiclass_generalized_dice_loss",
        optax.losses.multiclass_generalized_dice_loss,
        [PREDICTED, ALL_P],
        1e-5,
    ),
]
"""They compute in float32 within, whatever they are given."""

TABLES = ACTIVATIONS + SPECIAL + STATS + SCIPY_LINALG + NUMPY_LINALG + LOSSES + SINGLE


@pytest.mark.in_turns(6)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", TABLES, ids=str)
def test_function(row):
    arguments = [jnp.asarray(x) for x in row.arguments]
    floats = [i for i, x in enumerate(arguments) if jnp.issubdtype(x.dtype, jnp.inexact)]
    both = lambda *xs: [grad(row.loss, floats)(*xs) for grad in (funcnet.grad, jax.grad)]  # noqa: E731
    assert_close(*jax.jit(both)(*arguments), row.tolerance)
