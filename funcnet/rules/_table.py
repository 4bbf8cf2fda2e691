"""The table of rules: for each primitive of JAX, how an upstream gradient becomes downstream ones.

Notation, everywhere: y is an output of the primitive, x an input, ȳ = ∂L/∂y the upstream gradient
(the cotangent), x̄ = ∂L/∂x the downstream one. A rule is local gradient × upstream gradient, written
as that product; the Jacobian itself is never formed.

    @rule("tanh", formula="x̄ = ȳ · sech²(x)", source="NIST DLMF §4.34")
    def tanh(y_bar, y, x):
        return (y_bar * sech2(x),)

A primitive with several outputs passes tuples as `y_bar` and `y`; an output that nothing depends on
has None for its cotangent. What a rule does not read is not kept from the forward pass, and what
nobody asks of it is not computed: the engine traces each rule once for each signature and drops the
rest, so a rule states all its gradients and its formula stays whole.

A formula is a text that people and programs read; `_formula` has its grammar.

Complex numbers follow JAX: x̄ is the transpose of the local derivative applied to ȳ, without
conjugation, so that `grad` of a holomorphic function is its complex derivative.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
from jax import lax
from jax.custom_derivatives import SymbolicZero

from funcnet._errors import ParameterError

Backward = Callable[..., Sequence[Any]]
Forward = Callable[..., tuple[Any, Any]]


@dataclass(frozen=True, eq=False, repr=False)
class Rule:
    """The hand-written gradient of one primitive; see `rule`.

    Attributes:
        primitives: the names of the primitives it holds for.
        backward: `backward(y_bar, y, *xs, **params) -> x_bars`, or, with a forward of its own,
            `backward(stash, y_bar, **params) -> x_bars`.
        formula: the backward pass as one reads it on paper.
        source: where the formula stands in print.
        forward: None, or `forward(*xs, **params) -> (y, stash)`, which runs in place of the primitive.
    """

    primitives: tuple[str, ...]
    backward: Backward
    formula: str = ""
    source: str = ""
    forward: Forward | None = None

    @property
    def __doc__(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.backward.__doc__

    def __call__(self, *args: Any, **params: Any) -> Sequence[Any]:
        return self.backward(*args, **params)

    def __repr__(self) -> str:
        return f"<rule {': '.join(filter(None, (', '.join(self.primitives), self.formula)))}>"


def rule(
    *primitives: str, formula: str = "", source: str = "", forward: Forward | None = None
) -> Callable[[Backward], Rule]:
    """Decorator: a function becomes the rule of a primitive.

    The function takes the upstream gradient, the output and the inputs of the forward pass, and the
    primitive's parameters as keywords; it returns one gradient for each input, each with that input's
    shape and dtype, or None for an input that has none. With `forward`, it takes `(stash, y_bar)`.
    Nothing is registered: hand the rule to one call with `grad(f, rules=RULES | {name: rule})`.

    Args:
        primitives: names of `jax` primitives, as they stand in a jaxpr.
        formula: the backward pass as on paper.
        source: author, year, equation or section.
        forward: replaces the primitive's forward pass by one that puts aside a stash.

    Raises:
        ParameterError: no primitive is named.

    Example:
        >>> import jax.numpy as jnp
        >>> import funcnet
        >>> @funcnet.rule("round", formula="x̄ = ȳ", source="Bengio, Léonard and Courville 2013")
        ... def straight_through(y_bar, y, x, *, rounding_method):
        ...     return (y_bar,)
        >>> funcnet.grad(jnp.round, rules=funcnet.RULES | {"round": straight_through})(0.7)
        Array(1., dtype=float32, weak_type=True)
    """
    if not primitives or not all(isinstance(name, str) for name in primitives):
        raise ParameterError(
            f"rule: got {primitives!r}, expected the names of primitives; write @rule('tanh', formula=…)"
        )

    def decorate(backward: Backward) -> Rule:
        return Rule(primitives, backward, formula, source, forward)

    return decorate


class Table(Mapping[str, Rule]):
    """An immutable mapping from the names of primitives to their rules.

    `table | {"max": guided}` is a new table in which "max" has another rule; a plain function with
    the signature of a rule will do.

    Example:
        >>> from funcnet import RULES
        >>> RULES["mul"].formula
        'x̄₁ = ȳ · x₂,  x̄₂ = ȳ · x₁'
    """

    def __init__(self, rules: Mapping[str, Rule | Backward]):
        self._rules = MappingProxyType({name: _as_rule(name, rule) for name, rule in rules.items()})

    def __getitem__(self, name: str) -> Rule:
        return self._rules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def __or__(self, other: Mapping[str, Rule | Backward]) -> "Table":
        return Table({**self._rules, **other})

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<table of {len(self)} rules>"


def _as_rule(name: str, given: Rule | Backward) -> Rule:
    if isinstance(given, Rule):
        return given
    if callable(given):
        return Rule((name,), given)
    raise ParameterError(
        f"rules: {name!r} is {type(given).__name__}, expected a rule; write a function "
        f"`(y_bar, y, *xs, **params) -> x_bars` or decorate it with funcnet.rule"
    )


def table(modules: Sequence[Any]) -> Table:
    """All rules that stand in these modules, by the names of their primitives."""
    rules = [value for module in modules for value in vars(module).values() if isinstance(value, Rule)]
    return Table({name: rule for rule in rules for name in rule.primitives})


def slope(*derivatives: Callable[..., Any] | None) -> Callable[[Callable], Callable]:
    """Decorator: a part of a rule has a derivative of its own, and the second order is as good as the first.

    What is accurate as it stands may cancel, overflow or vanish when it is differentiated as it stands:
    (1 − x)(1 + x) has the derivative (1 − x) − (1 + x), which is −2x but to no digit near 0.

    Args:
        derivatives: for each argument `derivative(s, *xs)`, with s the value; None where it is 0, or for an
            argument y that is a function of an x, when all of the derivative is said of that.

    >>> @slope(lambda s, x: -2 * x)
    ... def one_minus_square(x):
    ...     return (1 - x) * (1 + x)
    >>> print(jax.grad(one_minus_square)(1e-10))
    -2e-10
    """

    def decorate(function: Callable) -> Callable:
        value = jax.custom_jvp(function)

        def tangent(xs: Any, dots: Any) -> tuple[Any, Any]:
            s = value(*xs)
            pairs = zip(derivatives, dots, strict=True)
            parts = [dot * d(s, *xs) for d, dot in pairs if d and not isinstance(dot, SymbolicZero)]
            return s, sum(parts[1:], parts[0]) if parts else lax.full_like(s, 0)

        value.defjvp(tangent, symbolic_zeros=True)
        return value

    return decorate


def derivative_along(derivative: Callable[..., Any]) -> Callable[[Callable], Callable]:
    """Decorator: the same for a function of a matrix; `derivative(a, e)` is its derivative along e."""

    def decorate(function: Callable) -> Callable:
        value = jax.custom_jvp(function)
        value.defjvp(lambda xs, dots: (value(*xs), derivative(*xs, *dots)))
        return value

    return decorate


def like(x: Any, x_bar: Any) -> Any:
    """Sum `x_bar` over what the forward pass broadcast: first axes that x lacks, and those of size 1."""
    if x.shape == x_bar.shape:
        return x_bar
    new = x_bar.ndim - x.ndim
    stretched = [i for i in range(x_bar.ndim) if i < new or x.shape[i - new] != x_bar.shape[i]]
    return lax.reshape(lax.reduce_sum(x_bar, stretched), x.shape)


def stretch(x: Any, shape: Sequence[int]) -> Any:
    """An operand of an elementwise primitive, broadcast to the shape of the result."""
    if x.shape == tuple(shape):
        return x
    return lax.broadcast_in_dim(x, shape, range(len(shape) - x.ndim, len(shape)))
