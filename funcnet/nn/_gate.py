"""The gate: a function that a network is made of, with a forward and a backward pass of its own.

CS231n 2019, lecture 4, slides 93 to 98: a node of the graph offers `forward`, which computes the
output y and puts aside what the way back will need (the stash), and `backward`, which turns the
upstream gradient ȳ = ∂L/∂y into one downstream gradient x̄ = ∂L/∂x for each input.

    @gate(formula="x̄ = ȳ · 2x", source="a calculus book")
    def square(x):                       # the primal: what the gate computes
        return x * x

    @square.forward                      # -> y, stash
    def square_forward(x):
        return x * x, x

    @square.backward                     # stash, ȳ -> (x̄,)
    def square_backward(x, y_bar):
        return (2 * x * y_bar,)

From there on `square` is called like the function it replaces, and `square.primal`,
`square.forward` and `square.backward` are those three functions.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import jax

from funcnet._errors import ParameterError
from funcnet.nn._dtypes import to_one_float_dtype

P = ParamSpec("P")
Y = TypeVar("Y")
F = TypeVar("F", bound=Callable)


class Gate(Generic[P, Y]):
    """A function with a hand-written gradient; see `gate`.

    Attributes:
        primal: the function itself; `jax.grad` of it is what the backward pass must agree with.
        forward: `forward(*xs, **params) -> (y, stash)`.
        backward: `backward(stash, y_bar, **params) -> x_bars`, one for each input, each with that
            input's shape and dtype, or None for an input without a gradient (labels, keys).
        formula: the backward pass as one reads it on paper.
        source: where the formula stands in print.
    """

    __name__: str
    __qualname__: str

    def __init__(self, primal: Callable[P, Y], formula: str, source: str):
        self.primal = primal
        self.formula = formula
        self.source = source
        self.forward: Callable = self._set_forward
        self.backward: Callable = self._set_backward
        self._signature = inspect.signature(primal)
        functools.update_wrapper(self, primal)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Y:
        call = self._signature.bind(*args, **kwargs)
        xs, params = call.args, call.kwargs
        try:
            differentiable = self._differentiable(tuple(params.items()))
        except TypeError as error:
            raise ParameterError(
                f"{self.__name__}: {', '.join(params)} must be plain Python numbers, known before tracing; "
                f"got {', '.join(type(value).__name__ for value in params.values())}. Mark them static under "
                f"jit, or write the gate's formula out to differentiate with respect to them."
            ) from error
        return differentiable(*to_one_float_dtype(xs))

    @functools.cache  # noqa: B019 — gates live as long as their module
    def _differentiable(self, params: tuple[tuple[str, Any], ...]) -> Callable:
        """The primal as a `jax.custom_vjp` with its parameters bound."""
        with_params = functools.partial(functools.partial, **dict(params))
        differentiable = jax.custom_vjp(functools.wraps(self.primal)(with_params(self.primal)))
        differentiable.defvjp(with_params(self.forward), with_params(self.backward))
        return differentiable

    def _set_forward(self, forward: F) -> F:
        self.forward = forward
        return forward

    def _set_backward(self, backward: F) -> F:
        self.backward = backward
        vars(backward)["gate"] = self  # a picture finds formula and source there
        return backward

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, as functions are

    def __repr__(self) -> str:
        return f"<gate {self.__name__}: {self.formula}>"


def gate(*, formula: str, source: str) -> Callable[[Callable[P, Y]], Gate[P, Y]]:
    """Makes a function a gate: `jax.grad`, `jit`, `vmap` and `scan` then use its own backward pass.

    Positional arguments are arrays; floating-point ones are brought to one dtype first, as jnp's
    functions do. Keyword-only arguments are parameters: plain numbers that `forward` and `backward`
    receive too. The result is a `jax.custom_vjp` underneath, which has no forward mode in JAX: `jax.jvp`
    and `jax.jacfwd` refuse it, while `jax.hessian` and `jax.jacrev(jax.grad(f))` differentiate its rule.

    Args:
        formula: the backward pass as one reads it on paper.
        source: where the formula stands in print: author and year, equation or slide.

    >>> @gate(formula="x̄ = ȳ · 2x", source="Leibniz 1684")
    ... def square(x):
    ...     return x * x
    >>> @square.forward
    ... def square_forward(x):
    ...     return x * x, x
    >>> @square.backward
    ... def square_backward(x, y_bar):
    ...     return (2 * x * y_bar,)
    >>> float(jax.grad(square)(3.0))
    6.0
    """
    return lambda primal: Gate(primal, formula, source)
