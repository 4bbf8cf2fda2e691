"""How reverse mode is called: arguments, errors, pullbacks, refs for gradients; and that nothing leaks."""

# ruff: noqa: N803
# J is a library that differentiates.

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import Kind, vjp_of
from tests.backprop.border_results import Module, Pair

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

LEAKS = Kind("no tracer leaks")


def checked(run):
    """Run it while JAX looks for leaked tracers."""

    def checking(J):
        with jax.checking_leaks():
            return run(J)

    return checking


WITHOUT_LEAKS = {
    "the example": lambda J: J.value_and_grad(lambda x: (x * 2, x), has_aux=True)(1.0),
    "grad": lambda J: J.grad(jnp.sin)(0.7),
    "value_and_grad": lambda J: J.value_and_grad(lambda x: (x**2).sum())(X),
    "vjp": lambda J: J.vjp(jnp.sin, X)[1](Y),
    "vjp with aux": lambda J: J.vjp(lambda x: (x * 2, x), X, has_aux=True)[::2],
    "jacobian": lambda J: J.jacobian(lambda x: {"y": x**2, "z": x})(X),
    "jacobian with aux": lambda J: J.jacobian(lambda x: (x**2, x > 0), has_aux=True)(X),
    "hessian": lambda J: J.hessian(lambda x: (x**3).sum())(X),
    "twice": lambda J: J.grad(J.grad(jnp.sin))(0.7),
    "jit outside": lambda J: jax.jit(J.value_and_grad(lambda x: (x * 2, x), has_aux=True))(1.0),
    "jit inside": lambda J: J.grad(jax.jit(jnp.sin))(0.7),
    "vmap outside": lambda J: jax.vmap(J.grad(jnp.sin))(X),
    "vmap inside": lambda J: J.grad(lambda x: jax.vmap(jnp.sin)(x).sum())(X),
    "scan inside": lambda J: J.grad(lambda x: lax.scan(lambda c, y: (c * y, c), x, Y)[0])(X[0]),
    "cond inside": lambda J: J.grad(lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x))(0.7),
    "fori_loop inside": lambda J: J.grad(lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x))(0.7),
    "checkpoint inside": lambda J: J.grad(jax.checkpoint(jnp.sin))(0.7),
    "custom_jvp": lambda J: J.grad(jax.nn.relu)(0.7),
    "custom_vjp": lambda J: J.grad(
        vjp_of(jnp.sin, lambda x: (jnp.sin(x), (x, 3)), lambda r, g: (g * jnp.cos(r[0]),))
    )(0.7),
    "custom_vjp under jit": lambda J: jax.jit(
        J.grad(vjp_of(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),)))
    )(0.7),
    "data": lambda J: J.grad(lambda x, y: (x * jnp.sin(y)).sum())(X, Y),
    "data in aux": lambda J: J.grad(lambda x, y: (x.sum(), y + 1), has_aux=True)(X, Y),
    "indexing": lambda J: J.grad(lambda x: x[1] * x[jnp.array([0, 2])].sum())(X),
    "sorting": lambda J: J.grad(lambda x: (jnp.sort(x) * Y).sum())(X),
    "linear algebra": lambda J: J.grad(lambda x: jnp.linalg.inv(jnp.diag(x) + 2).sum())(X),
    "an error in the function": lambda J: J.grad(lambda x: x.no_such_method())(X),
    "a loss that is no scalar": lambda J: J.grad(lambda x: x)(X),
}
for _name, _run in WITHOUT_LEAKS.items():
    LEAKS.add(
        _name,
        checked(_run),
        raises={"an error in the function": AttributeError, "a loss that is no scalar": TypeError}.get(_name),
    )


CALLS = Kind("how it is called")

ERRORS = {
    "no argument": (lambda J: J.grad(lambda: 1.0)(), TypeError),
    "too few arguments": (lambda J: J.grad(lambda x, y: x * y)(1.0), TypeError),
    "too many arguments": (lambda J: J.grad(lambda x: x)(1.0, 2.0), TypeError),
    "a keyword in place of an argument": (lambda J: J.grad(lambda x: x)(x=1.0), TypeError),
    "an unknown keyword": (lambda J: J.grad(lambda x: x)(1.0, y=2), TypeError),
    "argnums too large": (lambda J: J.grad(lambda x: x, 1)(1.0), TypeError),
    "argnums too small": (lambda J: J.grad(lambda x: x, -2)(1.0), ValueError),
    "a float in argnums": (lambda J: J.grad(lambda x: x, 0.0)(1.0), TypeError),
    "a string in argnums": (lambda J: J.grad(lambda x: x, "x")(1.0), TypeError),
    "a number for a function": (lambda J: J.grad(3)(1.0), TypeError),
    "a value for a function": (lambda J: J.value_and_grad(jnp.ones(2)), TypeError),
    "a number for a function of vjp": (lambda J: J.vjp(3, 1.0), TypeError),
    "a number for a function of jacobian": (lambda J: J.jacobian(3)(1.0), TypeError),
    "a number for a function of hessian": (lambda J: J.hessian(3)(1.0), TypeError),
    "vjp of too few": (lambda J: J.vjp(lambda x, y: x, 1.0), TypeError),
    "vjp of too many": (lambda J: J.vjp(lambda x: x, 1.0, 2.0), TypeError),
    "vjp of a string": (lambda J: J.vjp(lambda x, s: x, 2.0, "s"), TypeError),
    "vjp of a function": (lambda J: J.vjp(lambda x, f: x, 2.0, len), TypeError),
    "jacobian of too few": (lambda J: J.jacobian(lambda x, y: x)(X), TypeError),
    "hessian of too many": (lambda J: J.hessian(lambda x: x.sum())(X, Y), TypeError),
    "a pullback of two": (lambda J: J.vjp(jnp.sin, 2.0)[1](1.0, 2.0), TypeError),
    "a pullback of nothing": (lambda J: J.vjp(jnp.sin, 2.0)[1](), TypeError),
    "a pullback of another tree": (lambda J: J.vjp(lambda x: (x, x), 2.0)[1]([1.0, 1.0]), ValueError),
    "a pullback of another shape": (lambda J: J.vjp(jnp.sin, X)[1](1.0), ValueError),
    "a pullback of another dtype": (lambda J: J.vjp(jnp.sin, jnp.float32(1))[1](jnp.bfloat16(1)), ValueError),
    "a pullback of an int": (lambda J: J.vjp(jnp.sin, jnp.float32(1))[1](1), ValueError),
    "no pair with aux": (lambda J: J.grad(lambda x: x, has_aux=True)(2.0), TypeError),
    "a triple with aux": (lambda J: J.grad(lambda x: (x, 1, 2), has_aux=True)(2.0), TypeError),
    "no pair with aux of vjp": (lambda J: J.vjp(lambda x: x, 2.0, has_aux=True), TypeError),
    "an int": (lambda J: J.grad(lambda x: x * 2.0)(2), TypeError),
    "an int in a tree": (lambda J: J.grad(lambda p: p["x"] * 2.0)({"x": 2.0, "n": 3}), TypeError),
    "a bool": (lambda J: J.grad(lambda x: x * 2.0)(True), TypeError),
    "an int array of a jacobian": (lambda J: J.jacobian(lambda x: x * 2.0)(np.arange(3)), TypeError),
    "a string": (lambda J: J.grad(lambda s: 1.0)("s"), TypeError),
    "a string in a tree": (lambda J: J.grad(lambda p: p["x"])({"x": 1.0, "name": "s"}), TypeError),
    "an object": (lambda J: J.grad(lambda s: 1.0)(object()), TypeError),
    "a function in a tree": (lambda J: J.grad(lambda p: p["x"])({"x": 1.0, "f": jnp.sin}), TypeError),
    "an array of objects": (lambda J: J.grad(lambda x: 1.0)(np.array([None])), TypeError),
    "float0": (lambda J: J.grad(lambda x: 1.0)(np.zeros(2, jax.dtypes.float0)), TypeError),
    "a complex result": (lambda J: J.grad(lambda x: x * 1j)(1.0), TypeError),
    "a complex result of a jacobian": (lambda J: J.jacobian(lambda x: x * 1j)(X), TypeError),
    "a holomorphic function of reals": (lambda J: J.grad(lambda x: x * 1j, holomorphic=True)(1.0), TypeError),
    "a holomorphic function to reals": (lambda J: J.grad(lambda z: z.real, holomorphic=True)(1j), TypeError),
    "a vector": (lambda J: J.grad(lambda x: x)(X), TypeError),
    "a vector of one": (lambda J: J.grad(lambda x: x)(X[:1]), TypeError),
    "a tuple": (lambda J: J.grad(lambda x: (x,))(1.0), TypeError),
    "a dict": (lambda J: J.grad(lambda x: {"loss": x})(1.0), TypeError),
    "an int result": (lambda J: J.grad(lambda x: 3)(1.0), TypeError),
    "a bool result": (lambda J: J.grad(lambda x: x > 0)(1.0), TypeError),
    "a string result": (lambda J: J.grad(lambda x: "loss")(1.0), TypeError),
    "an int result of a jacobian": (lambda J: J.jacobian(lambda x: x.astype(int))(X), TypeError),
    "a module with a function in it": (
        lambda J: J.grad(lambda m: m.w.sum())(Module(X, "m", [jnp.tanh])),
        TypeError,
    ),
    "a module with a string in it": (
        lambda J: J.grad(lambda m: m.w.sum())(Module(X, "m", ["relu"])),
        TypeError,
    ),
    "a module with an int in it": (lambda J: J.grad(lambda m: m.w.sum())(Module(X, "m", [3])), TypeError),
    "a module with a bool in it": (lambda J: J.grad(lambda m: m.w.sum())(Module(X, "m", [True])), TypeError),
    "an error of the user's own": (lambda J: J.grad(lambda x: x.nothing)(X), AttributeError),
    "a lookup error": (lambda J: J.grad(lambda x: {}["x"])(1.0), KeyError),
    "an error of shapes": (lambda J: J.grad(lambda x: (x + np.ones(2)).sum())(X), TypeError),
    "a stop": (lambda J: J.grad(lambda x: next(iter(())))(1.0), Exception),
}
for _name, (_run, _error) in ERRORS.items():
    CALLS.add(_name, _run, raises=_error)


@CALLS(raises=ValueError, right=lambda: ())
def no_argnums(J):
    return J.grad(lambda x: x, ())(1.0)


@CALLS(raises=ValueError, right=lambda: (jnp.asarray(0.0),))
def a_pullback_of_none(J):
    return J.vjp(lambda x: x * 2, 2.0)[1](None)


@CALLS(raises=ValueError, right=lambda: (jnp.asarray(1.0),))
def a_pullback_of_none_inside(J):
    return J.vjp(lambda x: (x, x), 2.0)[1]((1.0, None))


def named(x):
    return x**2


ANSWERS = {
    "an int argument of vjp": lambda J: J.vjp(lambda x, n: x[:n].sum(), X, 2)[1](1.0),
    "an int factor in vjp": lambda J: J.vjp(lambda x, n: x * n, 2.0, 3)[1](1.0),
    "an int that is a shape in vjp": lambda J: J.vjp(lambda x, n: jnp.ones(n) * x, 2.0, 3)[1](jnp.ones(3)),
    "an int that Python loops over in vjp": lambda J: J.vjp(lambda x, n: sum(x for _ in range(n)), 2.0, 3)[1](
        1.0
    ),
    "a bool of vjp": lambda J: J.vjp(lambda x, flag: x * 2 if flag else x, 2.0, True)[1](1.0),
    "an int array of vjp": lambda J: J.vjp(lambda x, n: x[n].sum(), X, np.array([0, 0, 2]))[1](1.0),
    "an int array that is looked at": lambda J: J.vjp(
        lambda x, n: x[: int(n.sum())].sum(), X, np.array([0, 2])
    )[1](1.0),
    "a mask of vjp": lambda J: J.vjp(lambda x, m: x[m].sum(), X, X > 0)[1](1.0),
    "a key of vjp": lambda J: J.vjp(lambda x, k: x * jax.random.uniform(k), 2.0, jax.random.PRNGKey(0))[1](
        1.0
    ),
    "an int in a tree of vjp": lambda J: J.vjp(lambda p: p["x"] ** p["n"], {"x": 2.0, "n": 3})[1](1.0),
    "ints alone in vjp": lambda J: J.vjp(lambda n: n * 2.0, 3)[1](1.0),
    "an int argument with allow_int": lambda J: J.grad(lambda x, n: x[:n].sum(), (0, 1), allow_int=True)(
        X, 2
    ),
    "an int that is a power": lambda J: J.grad(lambda x, n: x**n, (0, 1), allow_int=True)(2.0, 3),
    "no argument of vjp": lambda J: J.vjp(lambda: 1.0)[0],
    "None of vjp": lambda J: J.vjp(lambda x, y: x, 2.0, None)[1](1.0),
    "a list in argnums": lambda J: J.grad(lambda x, y: x * y, [1, 0])(2.0, 3.0),
    "a NumPy int in argnums": lambda J: J.grad(lambda x, y: x * y, np.int32(1))(2.0, 3.0),
    "a range in argnums": lambda J: J.grad(lambda x, y: x * y, range(2))(2.0, 3.0),
    "a negative in argnums": lambda J: J.grad(lambda x, y: x * y, (-1, 0))(2.0, 3.0),
    "a bool in argnums": lambda J: J.grad(lambda x, y: x * y, True)(2.0, 3.0),
    "argnums by keyword": lambda J: J.grad(fun=lambda x, y: x * y, argnums=1)(2.0, 3.0),
    "keywords that are pytrees": lambda J: J.grad(lambda x, *, p: x * p["a"])(2.0, p={"a": 3.0, "name": "n"}),
    "defaults": lambda J: J.grad(lambda x, y=3.0, *, z=2.0: x * y * z)(2.0),
    "stars": lambda J: J.grad(lambda *xs, **kw: sum(xs) * kw["k"], (0, 2))(1.0, 2.0, 3.0, k=2.0),
    "a partial": lambda J: J.grad(functools.partial(jnp.multiply, 3.0))(2.0),
    "a Partial": lambda J: J.grad(jax.tree_util.Partial(jnp.multiply, 3.0))(2.0),
    "a bound method": lambda J: J.grad(jnp.asarray(X).dot)(Y),
    "a class": lambda J: J.jacobian(lambda x: Pair(x, x * 2))(2.0),
    "a ufunc": lambda J: J.grad(jnp.add, (0, 1))(2.0, 3.0),
    "a jitted function with static arguments": lambda J: J.grad(
        jax.jit(
            lambda x, n, *, kind: x**n if kind == "power" else x, static_argnums=1, static_argnames="kind"
        )
    )(2.0, 3, kind="power"),
    "a module": lambda J: vars(J.grad(lambda m: (m.w * m.parts[0]).sum())(Module(X, "m", [Y]))),
    "a module as a function": lambda J: J.grad(type("F", (), {"__call__": lambda self, x: x**2})())(2.0),
    "a complex argument": lambda J: J.grad(lambda z: (z * z).real)(jnp.complex64(1 + 2j)),
    "a holomorphic function": lambda J: J.grad(lambda z: z * z, holomorphic=True)(1 + 2j),
    "a scalar array": lambda J: J.grad(lambda x: x**2)(np.array(2.0, np.float32)),
    "a wide NumPy float": lambda J: J.grad(lambda x: x**2)(np.float64(2)),
    "a wide NumPy array": lambda J: J.grad(lambda x: (x**2).sum())(np.float64(X)),
    "a float16": lambda J: J.grad(lambda x: x**2)(np.float16(2)),
    "a list of floats": lambda J: J.grad(lambda xs: xs[0] * xs[1])([2.0, 3.0]),
    "an array without elements": lambda J: J.grad(lambda x: x.sum())(X[:0]),
    "a transposed NumPy array": lambda J: J.grad(lambda x: (x**2).sum())(np.outer(X, Y[:2]).T),
    "a pullback of a NumPy float": lambda J: J.vjp(jnp.sin, jnp.float32(1))[1](np.float64(2)),
    "a pullback of a Python float": lambda J: J.vjp(jnp.sin, jnp.float32(1))[1](2.0),
    "a pullback twice": lambda J: (lambda pull: (pull(1.0), pull(2.0)))(J.vjp(jnp.sin, 2.0)[1]),
    "a pullback through jit": lambda J: jax.jit(lambda pull, y: pull(y))(J.vjp(jnp.sin, X)[1], Y),
    "a pullback out of jit": lambda J: jax.jit(lambda x: J.vjp(jnp.sin, x)[1])(X)(Y),
    "a pullback under vmap": lambda J: jax.vmap(J.vjp(jnp.sin, X)[1])(np.eye(3, dtype=np.float32)),
    "a pullback of a vmap": lambda J: jax.vmap(lambda x, y: J.vjp(jnp.sin, x)[1](y))(X, Y),
    "a pullback in a scan": lambda J: (
        lambda pull: lax.scan(lambda c, y: (c, pull(y)), 0.0, np.stack([X, Y]))
    )(J.vjp(jnp.sin, X)[1]),
    "a pullback that is differentiated": lambda J: J.grad(lambda y: (J.vjp(jnp.sin, X)[1](y)[0] ** 2).sum())(
        Y
    ),
    "a pullback through tree.map": lambda J: jax.tree.map(lambda r: r, J.vjp(lambda x: x * Y, X)[1])(X),
    "the name of a gradient": lambda J: [getattr(J.grad(named), a) for a in ("__module__",)],
    "the wrapped function": lambda J: J.grad(named).__wrapped__ is named,
}
for _name, _run in ANSWERS.items():
    CALLS.add(_name, _run)


def pulled(J, run, *refs):
    """Run a pullback with these refs, and what they hold afterwards."""
    refs = [jax.new_ref(ref) for ref in refs]
    _, pull = J.vjp(lambda x, y: (jnp.sin(x) * y).sum(), X, Y)
    return run(pull, *refs), [ref[...] for ref in refs]


VALUE, SKIP = jax.ad.GradValue(), jax.ad.DontWant()
ZERO, ONE = np.zeros(3, np.float32), np.ones(3, np.float32)

WITH_REFS = {
    "refs": lambda J: pulled(J, lambda pull, a, b: pull.with_refs(a, b)(1.0), ONE, ZERO),
    "a ref and a value": lambda J: pulled(J, lambda pull, a: pull.with_refs(a, VALUE)(1.0), ONE),
    "a value and a ref": lambda J: pulled(J, lambda pull, b: pull.with_refs(VALUE, b)(1.0), ONE),
    "a ref and nothing": lambda J: pulled(J, lambda pull, a: pull.with_refs(a, SKIP)(1.0), ONE),
    "values": lambda J: pulled(J, lambda pull: pull.with_refs(VALUE, VALUE)(1.0)),
    "nothing": lambda J: pulled(J, lambda pull: pull.with_refs(SKIP, SKIP)(1.0)),
    "refs, twice": lambda J: pulled(
        J, lambda pull, a, b: [pull.with_refs(a, b)(1.0), pull.with_refs(a, VALUE)(2.0)], ONE, ZERO
    ),
    "refs under jit": lambda J: jax.jit(
        lambda: pulled(J, lambda pull, a: pull.with_refs(a, VALUE)(1.0)[1], ONE)
    )(),
    "a ref in a tree": lambda J: (lambda pull, a: (pull.with_refs({"a": a, "b": VALUE})(1.0), a[...]))(
        J.vjp(lambda p: (jnp.sin(p["a"]) * p["b"]).sum(), {"a": X, "b": Y})[1], jax.new_ref(ONE)
    ),
    "a ref without gradient": lambda J: (lambda pull, a: (pull.with_refs(a)(1.0), a[...]))(
        J.vjp(lambda x: jnp.sum(Y), X)[1], jax.new_ref(ONE)
    ),
    "a ref beside an int": lambda J: (lambda pull, a: (pull.with_refs(a, SKIP)(1.0), a[...]))(
        J.vjp(lambda x, n: (x**2 * n).sum(), X, 2)[1], jax.new_ref(ONE)
    ),
}
for _name, _run in WITH_REFS.items():
    CALLS.add(f"{_name} for the gradients", _run)

CALLS.add("too few refs", lambda J: pulled(J, lambda pull, a: pull.with_refs(a)(1.0), ONE), raises=Exception)
CALLS.add(
    "a ref of another shape",
    lambda J: pulled(J, lambda pull, a: pull.with_refs(a, VALUE)(1.0), np.ones(2, np.float32)),
    raises=ValueError,
)
