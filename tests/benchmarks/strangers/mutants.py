"""Right rules of other packages, broken in a way that a person could break them.

A mutant has the value of its function, and on the way back its gradient, changed. It is a `custom_vjp` around
the rule of the package. The table at the end says which rule is broken how; no way leaves its rule as it was.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from tests.benchmarks.strangers.rows import Row
from tests.benchmarks.strangers.rules import RULES


def mutant(function, change):
    """The function with `change(pullback, y_bar)` for x̄, where the pullback is the right one."""
    broken = jax.custom_vjp(lambda *args: function(*args))
    broken.defvjp(lambda *args: jax.vjp(function, *args), change)
    return broken


def downstream(change):
    """Changes each x̄."""
    return functools.partial(mutant, change=lambda pullback, y_bar: floats(change, pullback(y_bar)))


def upstream(change):
    """Changes each ȳ."""
    return functools.partial(mutant, change=lambda pullback, y_bar: pullback(floats(change, y_bar)))


def floats(change, tree):
    """The change of each float; integers have no cotangent."""
    return jax.tree.map(lambda x: x if x.dtype == jax.dtypes.float0 else change(x), tree)


def together(change):
    """Changes all x̄ at once."""
    return functools.partial(mutant, change=lambda pullback, y_bar: change(*pullback(y_bar)))


def largest(factor):
    """Changes the largest element of each x̄."""

    def change(x_bar):
        flat = x_bar.ravel()
        return flat.at[jnp.argmax(jnp.abs(flat))].multiply(factor).reshape(x_bar.shape)

    return downstream(change)


def lost(when):
    """Drops the first x̄ when `when` says so of the other arguments: whether each is perturbed."""

    def broken(function):
        partial = jax.custom_vjp(lambda *args: function(*args))

        def forward(*args):
            y, pullback = jax.vjp(function, *(one.value for one in args))
            return y, (pullback, when(one.perturbed for one in args[1:]))

        def backward(stash, y_bar):
            pullback, drop = stash
            first, *others = pullback(jax.tree.map(dense, y_bar, is_leaf=symbolic))
            return jnp.where(drop, 0, first), *others

        partial.defvjp(forward, backward, symbolic_zeros=True)
        return partial

    return broken


def symbolic(y_bar):
    return isinstance(y_bar, SymbolicZero)


def dense(y_bar):
    return jnp.zeros(y_bar.shape, y_bar.dtype) if symbolic(y_bar) else y_bar


WAYS = {
    "zeroed": downstream(lambda x_bar: 0 * x_bar),
    "negated": downstream(lambda x_bar: -x_bar),
    "doubled": downstream(lambda x_bar: 2 * x_bar),
    "1 % too large": downstream(lambda x_bar: 1.01 * x_bar),
    "0.1 % too large": downstream(lambda x_bar: 1.001 * x_bar),
    "one element 5 % too large": largest(1.05),
    "one element lost": largest(0),
    "rolled": downstream(lambda x_bar: jnp.roll(x_bar, 1)),
    "transposed": downstream(lambda x_bar: x_bar.T),
    "averaged": downstream(lambda x_bar: jnp.full_like(x_bar, x_bar.mean())),
    "a sum for a mean": downstream(lambda x_bar: x_bar.size * x_bar),
    "a mean for a sum": downstream(lambda x_bar: x_bar / x_bar.size),
    "not conjugated": downstream(jnp.conj),
    "real part only": downstream(lambda x_bar: x_bar.real.astype(x_bar.dtype)),
    "upstream ignored": upstream(jnp.ones_like),
    "upstream clipped": upstream(lambda y_bar: jnp.clip(y_bar, -1, 1)),
    "upstream without sign": upstream(jnp.abs),
    "second argument lost": together(lambda first, second, *others: (first, 0 * second, *others)),
    "second argument negated": together(lambda first, second, *others: (first, -second, *others)),
    "arguments exchanged": together(lambda first, second: (second, first)),
    "first argument lost when alone": lost(lambda others: not any(others)),
    "first argument lost beside others": lost(all),
}
"""From a function to one whose gradient is wrong."""

TFP = "tensorflow_probability.substrates.jax.math"

BROKEN = {
    "jax.nn:relu6": ("negated", "upstream clipped"),
    "jax.nn:softmax": ("one element 5 % too large", "upstream ignored"),
    "jax.numpy:logaddexp": ("second argument lost", "first argument lost when alone"),
    "jax.numpy.linalg:det": ("transposed",),
    "jax.numpy.linalg:det, complex": ("not conjugated",),
    "jax.numpy.linalg:pinv": ("0.1 % too large",),
    "jax.scipy.special:logit": ("rolled", "upstream without sign"),
    "jax.scipy.special:xlogy": ("arguments exchanged", "first argument lost when alone"),
    "jax.scipy.special:expi": ("a mean for a sum",),
    "optax.projections:projection_simplex": ("zeroed", "averaged"),
    "optax.losses._classification:weighted_logsoftmax": ("1 % too large", "first argument lost when alone"),
    "flax.linen.fp8_ops:dot_general_with_precision": (
        "second argument lost",
        "first argument lost beside others",
    ),
    "equinox.internal:while_loop": ("1 % too large", "one element lost"),
    "equinox.internal:nextafter": ("doubled", "upstream ignored"),
    "lineax.internal:two_norm": ("negated", "a sum for a mean"),
    "lineax.internal:two_norm, complex": ("not conjugated", "real part only"),
    "lineax.internal:max_norm": ("averaged",),
    "lineax:linear_solve": ("second argument negated", "first argument lost when alone"),
    "optimistix:root_find": ("second argument lost", "0.1 % too large"),
    "optimistix:least_squares": ("rolled", "1 % too large"),
    "jaxopt.projection:projection_sparse_simplex": ("rolled",),
    "jaxopt:GradientDescent": ("second argument negated", "1 % too large"),
    "numpyro.distributions.util:log1mexp": ("negated", "one element 5 % too large"),
    "numpyro.distributions:DoublyTruncatedPowerLaw, cdf": ("doubled", "second argument lost"),
    "numpyro.distributions:DoublyTruncatedPowerLaw, icdf": ("1 % too large",),
    f"{TFP}:log_cosh": ("upstream clipped", "rolled"),
    f"{TFP}:dawsn": ("one element 5 % too large",),
    f"{TFP}:lambertw": ("a mean for a sum",),
    f"{TFP}:lbeta": ("arguments exchanged", "second argument lost"),
    f"{TFP}:owens_t": ("second argument negated", "0.1 % too large"),
    "e3nn_jax:spherical_harmonics": ("rolled", "one element lost"),
    "e3nn_jax._src.utils.einsum:einsum": ("first argument lost beside others", "zeroed"),
    "e3nn_jax._src.utils.einsum:einsum, complex": ("not conjugated",),
    "jax_md._nn.uma.common.rotation:safe_atan2": ("arguments exchanged",),
    "jax_md._nn.uma.kernels:_segment_mm_2d": ("second argument lost", "upstream without sign"),
    "diffrax:diffeqsolve": ("second argument lost", "1 % too large"),
}
"""How each rule is broken."""


def made(rule, way):
    def make():
        function, *args = rule.make()
        return WAYS[way](function), *args

    return Row("mutants", f"{rule.name}: {way}", make, wrong=way)


_by_name = {rule.name: rule for rule in RULES}
MUTANTS = tuple(made(_by_name[name], way) for name, ways in BROKEN.items() for way in ways)
