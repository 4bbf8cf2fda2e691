"""The border of funcnet: everything that `jax.grad` takes, with the same answer.

A row is a small function of J, a library that differentiates: it computes something with J's reverse mode
and returns a pytree, or lets an error out. It runs with J = jax and with J = funcnet, and the two agree in
value, structure, dtype, weak type, in what is a JAX array and what is not, and in the type of error.
What a function did to Python meanwhile (how often a rule was called, what a list was filled with) is part
of the result, if the row returns it.

Rows come in kinds: one for each cause that code which `jax.grad` takes once broke here, and one for what is
traced that need not be. The rows stand in the files border_*.py.
"""

# ruff: noqa: N803
# J is a library that differentiates.

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import funcnet

OLDER = jax.__version_info__ < (0, 11)
"""Where the two versions of JAX that we test on differ."""

ULPS = 8
"""How far two float results may be apart, in units of the last place of their dtype."""


class Library:
    """A namespace with JAX's names, whose reverse mode is that of one library."""

    def __init__(self, name: str, **reverse: Callable):
        self.__name__ = name
        self.grad, self.value_and_grad, self.vjp = (reverse[f] for f in ("grad", "value_and_grad", "vjp"))
        self.jacobian, self.hessian = reverse["jacobian"], reverse["hessian"]

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)


JAX = Library(
    "jax",
    grad=jax.grad,
    value_and_grad=jax.value_and_grad,
    vjp=jax.vjp,
    jacobian=jax.jacrev,
    hessian=jax.hessian,
)
FUNCNET = Library(
    "funcnet",
    grad=funcnet.grad,
    value_and_grad=funcnet.value_and_grad,
    vjp=funcnet.vjp,
    jacobian=funcnet.jacobian,
    hessian=funcnet.hessian,
)


@dataclass(frozen=True, eq=False)
class Row:
    """One use of reverse mode.

    Attributes:
        kind: what it is a member of.
        name: what is special about it.
        function: of the library, to a pytree of results.
        raises: the type of error that JAX raises; None where it answers.
        right: what the answer is where JAX refuses what has one: funcnet may refuse too, or give this one.
        ulps: how far the floats may be apart. Where it is not the default, the reason stands beside it.
    """

    kind: "Kind"
    name: str
    function: Callable[[Library], Any]
    raises: type[Exception] | None = None
    right: Callable[[], Any] | None = None
    ulps: float = ULPS

    def __str__(self) -> str:
        return f"{self.kind.title}: {self.name}"


@dataclass(eq=False)
class Kind:
    """A cause, and its rows.

    `@kind()` makes a row of a function, named by it. Where the row needs what one of the JAX versions lacks,
    `where` says whether it is there.
    """

    title: str
    rows: list[Row] = field(default_factory=list)

    def __call__(self, where: bool = True, **options: Any) -> Callable[[Callable], Callable]:
        def enter(function: Callable) -> Callable:
            if where:
                self.add(function.__name__.replace("_", " ").strip(), function, **options)
            return function

        return enter

    def add(self, name: str, function: Callable, **options: Any) -> None:
        """A row of this kind."""
        assert name not in {row.name for row in self.rows}, f"two rows of {self.title!r} are called {name!r}"
        self.rows.append(Row(self, name, function, **options))

    def around(
        self, name: str, make: Callable[[], Callable], without: Iterable[str] = (), x: float = 0.7
    ) -> None:
        """A row for each surrounding of a scalar function: `make()` gives a fresh one for each run."""
        for place, differentiate in AROUND.items():
            if place not in without:
                self.add(
                    f"{name}, {place}",
                    lambda J, differentiate=differentiate: differentiate(J, make(), jnp.float32(x)),
                )


AROUND: dict[str, Callable[[Library, Callable, jax.Array], Any]] = {
    "eager": lambda J, f, x: J.value_and_grad(f)(x),
    "jit outside": lambda J, f, x: jax.jit(J.value_and_grad(f))(x),
    "jit inside": lambda J, f, x: J.value_and_grad(jax.jit(f))(x),
    "vmap outside": lambda J, f, x: jax.vmap(J.value_and_grad(f))(jnp.stack([x, 2 * x])),
    "vmap inside": lambda J, f, x: J.grad(lambda x: jax.vmap(f)(jnp.stack([x, 2 * x])).sum())(x),
    "scan inside": lambda J, f, x: J.grad(lambda x: lax.scan(lambda c, _: (f(c), c), x, length=2)[0])(x),
    "scan outside": lambda J, f, x: lax.scan(lambda c, _: (c, J.grad(f)(c)), x, length=2),
    "fori_loop inside": lambda J, f, x: J.grad(lambda x: lax.fori_loop(0, 2, lambda _, c: f(c), x))(x),
    "cond inside": lambda J, f, x: J.grad(lambda x: lax.cond(x > 0, f, jnp.cos, x))(x),
    "cond outside": lambda J, f, x: lax.cond(x > 0, J.grad(f), jnp.cos, x),
    "while outside": lambda J, f, x: lax.while_loop(lambda c: c < 2, lambda c: c + 1 + J.grad(f)(c) ** 2, x),
    "checkpoint inside": lambda J, f, x: J.grad(jax.checkpoint(f))(x),
    "checkpoint outside": lambda J, f, x: jax.checkpoint(J.grad(f))(x),
    "twice": lambda J, f, x: J.grad(lambda x: x * J.grad(f)(x))(x),
    "jacobian": lambda J, f, x: J.jacobian(lambda x: {"y": f(x), "z": x})(x),
    "vjp": lambda J, f, x: (lambda y, pull: (y, pull(jnp.float32(1.5))))(*J.vjp(f, x)),
}
"""What may stand around the function, or around its gradient."""


def vjp_of(primal: Callable, fwd: Callable, bwd: Callable, nondiff_argnums=(), **options: Any) -> Callable:
    """A fresh custom_vjp."""
    f = jax.custom_vjp(primal, nondiff_argnums=nondiff_argnums)
    f.defvjp(fwd, bwd, **options)
    return f


def jvp_of(primal: Callable, rule: Callable, nondiff_argnums=(), **options: Any) -> Callable:
    """A fresh custom_jvp."""
    f = jax.custom_jvp(primal, nondiff_argnums=nondiff_argnums)
    f.defjvp(rule, **options)
    return f
