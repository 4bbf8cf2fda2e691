"""Options of custom rules, other things that can be called, and what JAX can do with a gradient function."""

# ruff: noqa: N803
# J is a library that differentiates.

import functools
import inspect
import operator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax
from jax.experimental import checkify
from jax.experimental.scheduling_groups import scheduling_group

from tests.backprop.border import OLDER, Kind, vjp_of
from tests.backprop.border_mixed import own_backward, own_rule, wave, waves

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
A, B = np.float32([0.3, 0.7])
ONE = np.float32(1)

OPTIONS = Kind("options of custom rules")


@OPTIONS()
def nondiff_argnames_of_a_custom_vjp(J):
    f = jax.custom_vjp(lambda x, n, kind="power": x**n, nondiff_argnames=("n", "kind"))
    f.defvjp(lambda x, n, kind: (x**n, x), lambda n, kind, x, g: (g * n * 10 * (kind == "power"),))
    return J.grad(lambda x: f(x, 3))(B), J.grad(lambda x: f(x, n=2, kind="other"))(B)


@OPTIONS()
def nondiff_argnames_of_a_custom_jvp(J):
    f = jax.custom_jvp(lambda x, n: x**n, nondiff_argnames=("n",))
    f.defjvp(lambda n, p, t: (p[0] ** n, n * t[0]))
    return J.grad(lambda x: f(x, 3))(B), J.grad(lambda x: f(x=x, n=2))(B)


@OPTIONS()
def nondiff_argnums_in_the_middle(J):
    f = jax.custom_vjp(lambda x, n, y, s: x**n * y, nondiff_argnums=(1, 3))
    f.defvjp(lambda x, n, y, s: (x**n * y, (x, y)), lambda n, s, r, g: (g * n * len(s), g * r[0]))
    return J.grad(lambda x, y: f(x, 3, y, "ab"), (0, 1))(A, B)


@OPTIONS()
def a_function_as_a_nondiff_argument(J):
    @functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
    def apply(f, x):
        return f(x)

    apply.defjvp(lambda f, p, t: (f(p[0]), 3 * t[0] * J.grad(f)(p[0])))
    return J.grad(lambda x: apply(jnp.sin, x))(A), jax.jit(J.grad(lambda x: apply(jnp.cos, x)))(A)


@OPTIONS()
def without_checks_of_backward(J):
    jax.config.update("jax_disable_bwd_checks", True)
    try:
        f = vjp_of(lambda x: x * 2, lambda x: (x * 2, None), lambda _, g: (g.astype(jnp.float32) * 3,))
        return J.grad(lambda x: f(x).astype(jnp.float32))(jnp.bfloat16(1.5)).astype(jnp.bfloat16)
    finally:
        jax.config.update("jax_disable_bwd_checks", False)


@OPTIONS()
def variable_arguments(J):
    f = vjp_of(
        lambda *xs: sum(xs), lambda *xs: (sum(xs), len(xs)), lambda n, g: tuple(g * k for k in range(n))
    )
    return J.grad(lambda x, y: f(x, y, x * y), (0, 1))(A, B)


@OPTIONS()
def a_dict_and_none_as_arguments(J):
    f = vjp_of(
        lambda p, q: p["a"] * 2 if q is None else p["a"] * q,
        lambda p, q: (p["a"] * 2 if q is None else p["a"] * q, q is None),
        lambda was_none, g: ({"a": 7 * g}, None),
    )
    return J.grad(lambda a: f({"a": a}, None))(A), J.grad(lambda a: f({"a": a}, 3.0))(A)


@OPTIONS()
def none_and_empty_results(J):
    f = vjp_of(
        lambda x: {"y": x, "n": None, "e": ()},
        lambda x: ({"y": x, "n": None, "e": ()}, None),
        lambda _, g: (7 * g["y"] if g["n"] is None and g["e"] == () else None,),
    )
    return J.grad(lambda x: f(x)["y"])(A), J.grad(jax.jit(lambda x: f(x)["y"]))(A)


@OPTIONS()
def results_that_are_arguments(J):
    f = vjp_of(
        lambda x, y: (y, x, x), lambda x, y: ((y, x, x), (x, y)), lambda r, g: (g[1] + 10 * g[2], 100 * g[0])
    )
    return J.grad(lambda x, y: f(x, y)[0] * f(x, y)[1] + f(x, y)[2], (0, 1))(A, B)


@OPTIONS()
def one_argument_twice(J):
    f = vjp_of(lambda x, y: x * y, lambda x, y: (x * y, (x, y)), lambda r, g: (2 * g * r[1], 3 * g * r[0]))
    return J.grad(lambda x: f(x, x))(A), J.grad(jax.jit(lambda x: f(x, x)))(A)


@OPTIONS()
def a_rule_that_is_defined_later(J):
    f = jax.custom_vjp(lambda x: x * 2)

    def loss(x):
        return f(x) * x

    f.defvjp(lambda x: (x * 2, None), lambda _, g: (5 * g,))
    return J.grad(loss)(A)


@OPTIONS()
def a_rule_that_is_redefined(J):
    f = jax.custom_vjp(lambda x: x * 2)
    f.defvjp(lambda x: (x * 2, None), lambda _, g: (5 * g,))
    first = J.grad(f)(A)
    f.defvjp(lambda x: (x * 2, None), lambda _, g: (7 * g,))
    return first, J.grad(f)(A)


@OPTIONS()
def a_rule_by_decorators(J):
    @jax.custom_jvp
    def f(x, y):
        """The product."""
        return x * y

    @f.defjvp
    def rule(primals, tangents):
        return f(*primals), 3 * tangents[0] * primals[1]

    return J.grad(f, (0, 1))(A, B), f.__name__, f.__doc__


@OPTIONS()
def defjvps_of_three(J):
    f = jax.custom_jvp(lambda x, y, z: x * y * z)
    f.defjvps(lambda t, ans, x, y, z: t * ans, None, lambda t, ans, x, y, z: t * x)
    return J.grad(f, (0, 1, 2))(A, B, ONE), J.grad(lambda x: f(x, x, x))(B)


@OPTIONS()
def a_straight_through_estimator(J):
    f = vjp_of(lambda x: jnp.round(x), lambda x: (jnp.round(x), None), lambda _, g: (g,))
    return J.grad(lambda x: (f(x * 3) ** 2).sum())(X)


@OPTIONS()
def gradient_clipping(J):
    @functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
    def clipped(x, low, high):
        return x

    clipped.defvjp(lambda x, low, high: (x, None), lambda low, high, _, g: (jnp.clip(g, low, high),))
    return J.grad(lambda x: (clipped(x, -0.5, 0.5) ** 2).sum())(X)


@OPTIONS()
def gradient_reversal(J):
    f = vjp_of(lambda x, scale: x, lambda x, scale: (x, scale), lambda scale, g: (-scale * g, None))
    return J.grad(lambda x: jnp.sin(f(x, 0.3)))(A), J.grad(lambda x, s: f(x, s), (0, 1))(A, B)


@OPTIONS()
def custom_rules_of_the_same_function(J):
    f = jax.custom_vjp(own_rule())
    f.defvjp(lambda x: (own_rule()(x), x), lambda x, g: (5 * g * J.grad(own_rule())(x),))
    return J.grad(f)(A), J.grad(lambda x: own_rule()(own_backward()(x)))(A)


@OPTIONS(where=hasattr(jax.custom_vjp, "defvjp_with_logs"))
def logs_of_a_backward_rule(J):
    f = jax.custom_vjp(lambda x: x * 2)
    f.defvjp_with_logs(lambda x: (x * 2, x), lambda x, g: ((3 * g,), {"g": g}))
    y, pull = J.vjp(lambda x: f(x) ** 2, A)
    return J.grad(f)(A), jax.jit(J.grad(f))(A), y, pull(ONE)


@OPTIONS(where=hasattr(jax.custom_vjp, "defvjp_with_accums"))
def accumulators_in_a_backward_rule(J):
    f = jax.custom_vjp(lambda x, y: x * y)
    f.defvjp_with_accums(
        lambda x, y: (x * y, (x, y)), lambda r, g, a, b: (a.accum(3 * g * r[1]), b.accum(g * r[0]), None)[2]
    )
    return J.grad(f, (0, 1))(A, B), J.grad(f)(A, B), jax.jit(J.grad(f))(A, B)


@OPTIONS(where="generic_batching" in inspect.signature(jax.custom_vjp.defvjp).parameters)
def generic_batching(J):
    f = vjp_of(lambda x: x * 2, lambda x: (x * 2, x), lambda x, g: (3 * g,), generic_batching=True)
    return J.grad(lambda x: jax.vmap(f)(x).sum())(X), J.grad(f)(A), jax.vmap(J.grad(f))(X)


FUNCTIONS = Kind("what can be differentiated, and what the gradient is then")


class Scaled:
    """An object that can be called."""

    scale = 2.0

    def __call__(self, x):
        return self.scale * jnp.sin(x)

    def method(self, x):
        return self.scale * jnp.cos(x)

    @staticmethod
    def static(x):
        return jnp.exp(x)

    @classmethod
    def of_class(cls, x):
        return cls.scale * x**2


def documented(x, *, power=2):
    """A power."""
    return x**power


THINGS = {
    "an object": Scaled(),
    "a method": Scaled().method,
    "a static method": Scaled.static,
    "a class method": Scaled.of_class,
    "an unbound method": functools.partial(Scaled.method, Scaled()),
    "a partial of a partial": functools.partial(functools.partial(lambda a, b, x: a * x**b, 2.0), 3),
    "a partial with keywords": functools.partial(documented, power=3),
    "a jitted function": jax.jit(jnp.sin),
    "a jitted partial": jax.jit(functools.partial(jnp.power, 2.0)),
    "a checkpointed function": jax.checkpoint(wave),
    "a vmapped function of one": lambda x: jax.vmap(wave)(x[None])[0],
    "a ufunc of JAX": jnp.sin,
    "an operator": operator.neg,
    "abs": abs,
    "a method of arrays": lambda x: x.__pow__(3),
    "a function of lax": lax.sin,
    "a function with a default": documented,
    "a recursive function": lambda x: (lambda f: f(f, x, 3))(
        lambda f, x, n: f(f, jnp.sin(x), n - 1) if n else x
    ),
    "a wrapped function": functools.wraps(documented)(lambda x: jnp.sin(x) * 3),
    "platform_dependent": lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos),
    "device_put": lambda x: jax.device_put(jnp.sin(x)),
    "an optimization barrier": lambda x: lax.optimization_barrier(jnp.sin(x)),
    "a reduced precision": lambda x: lax.reduce_precision(x, 5, 7) ** 2,
    "tree.map": lambda x: sum(jax.tree.leaves(jax.tree.map(jnp.sin, {"a": x, "b": [x * 2]}))),
    "a sum of Python": lambda x: sum([x, x * 2, 3.0]),
    "a product of Python": lambda x: functools.reduce(operator.mul, [x, x, 2.0]),
    "a power of Python": lambda x: pow(x, 3) + 2**x,
    "a comparison chain": lambda x: x * (0 < x < 1),
    "in-place operators": lambda x: (lambda y: operator.imul(operator.iadd(y, x), x))(x),
    "a matrix product by NumPy's array": lambda x: (
        np.ones((2, 2), np.float32) * x @ np.ones(2, np.float32)
    ).sum(),
    "NumPy's array on the left": lambda x: (np.float32([1, 2]) * x + np.float32(2) - x / np.float32(3)).sum(),
    "a NumPy scalar on the left": lambda x: np.float32(2) * x + np.float64(3) * x,
    "a wide NumPy array on the left": lambda x: (np.ones(2) * x).sum(),
    "an int array on the left": lambda x: (np.arange(3) * x).sum() + np.int64(2) * x,
    "a bool array": lambda x: (np.array([True, False]) * x).sum(),
    "a list of values": lambda x: jnp.array([x, 2 * x, 3.0]).prod(),
    "a nested list of values": lambda x: jnp.array([[x, 1.0], [2.0, x * x]]).sum() + jnp.stack([x, x]).sum(),
}
for _name, _f in THINGS.items():
    FUNCTIONS.add(_name, lambda J, f=_f: J.value_and_grad(f)(B))

FUNCTIONS.add(
    "a composite",
    lambda J: J.grad(lax.composite(lambda x: x * 2, "a.name"))(A),
    raises=Exception,
    right=lambda: jnp.float32(2),
)
FUNCTIONS.add(
    "a scheduling group",
    lambda J: J.value_and_grad(scheduling_group(name="a group")(lambda x: jnp.sin(x) * x))(A),
)
if OLDER:
    from jax.experimental.compute_on import compute_on2

    on_the_host = compute_on2(
        lambda x: jnp.sin(x) * x, compute_type="device_host", out_memory_spaces=jax.memory.Space.Device
    )
    FUNCTIONS.add("a part on the host", lambda J: J.value_and_grad(on_the_host)(A))
else:
    from jax.experimental.overlap import program_order

    FUNCTIONS.add(
        "an order", lambda J: J.value_and_grad(program_order(lambda x: jnp.sin(x) * x, enforce=True))(A)
    )
FUNCTIONS.add("a ufunc of NumPy", lambda J: J.grad(np.sin)(A), raises=TypeError)
FUNCTIONS.add("Python's math", lambda J: J.grad(__import__("math").sin)(A), raises=TypeError)
FUNCTIONS.add("a class that is no function", lambda J: J.grad(float)(A), raises=TypeError)


@FUNCTIONS()
def names(J):
    g = J.grad(documented)
    return (
        g.__name__,
        g.__wrapped__ is documented,
        list(inspect.signature(g).parameters),
        J.vjp(documented, A)[0],
    )


@FUNCTIONS()
def as_a_decorator(J):
    @functools.partial(J.grad, argnums=1)
    def f(x, y):
        return x * y**2

    @J.value_and_grad
    def g(x):
        return x**2

    return f(A, B), g(A)


@FUNCTIONS()
def traced_once_under_jit(J):
    calls = []

    @jax.jit
    def step(x):
        calls.append(1)
        return x - 0.1 * J.grad(wave)(x)

    return step(step(step(A))), len(calls)


@FUNCTIONS()
def donated_arguments(J):
    step = jax.jit(lambda x: x - 0.1 * J.grad(waves)(x), donate_argnums=0)
    return step(jnp.array(X))


@FUNCTIONS()
def threads(J):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(J.grad(wave), [A, B, ONE, -A]))


@FUNCTIONS()
def at_compile_time(J):
    @jax.jit
    def f(x):
        with jax.ensure_compile_time_eval():
            slope = float(J.grad(jnp.sin)(B))
        return x * slope

    return f(A)


@FUNCTIONS()
def checkified(J):
    def f(x):
        checkify.check(jnp.all(x < 1), "too large")
        return jnp.log(x).sum()

    checked = checkify.checkify(J.grad(f), errors=checkify.all_checks)
    return [(error.get(), gradient) for error, gradient in (checked(np.abs(X)), checked(X[:2]))]


@FUNCTIONS()
def checks_inside(J):
    def f(x):
        error, y = checkify.checkify(lambda x: (checkify.check(x > 0, "negative"), jnp.log(x))[1])(x)
        return y, error.get()

    return J.grad(f, has_aux=True)(A)


ARGUMENTS = {
    "float8": lambda J: J.grad(lambda x: (x.astype(jnp.float32) ** 2).sum())(
        X.astype(ml_dtypes.float8_e4m3fn)
    ),
    "no elements": lambda J: [
        J.jacobian(lambda x: x[:0])(X),
        J.jacobian(lambda x: x * 2)(X[:0]),
        J.grad(jnp.sum)(X[:0]),
    ],
    "a hessian of no elements": lambda J: J.hessian(lambda x: (x**2).sum())(X[:0]),
    "an int of a jacobian": lambda J: J.jacobian(lambda n, x: x * n, 1)(2, A),
    "a jacobian of two, by both": lambda J: J.jacobian(lambda x, y: (x * y, x.sum()), (0, 1))(X, Y),
    "a holomorphic hessian": lambda J: J.hessian(lambda z: z**3, holomorphic=True)(jnp.complex64(1 + 2j)),
    "a complex jacobian": lambda J: J.jacobian(lambda z: z * z, holomorphic=True)(X + 1j * Y),
    "real and imaginary parts": lambda J: J.jacobian(lambda z: (z.real, z.imag))(jnp.complex64(1 + 2j)),
    "a tuple of arguments": lambda J: J.grad(lambda t: t[0] * t[1].sum())((A, X)),
    "an array of one element": lambda J: J.grad(lambda x: x[0] ** 2)(X[:1]),
    "a Fortran array": lambda J: J.grad(
        lambda x: (x**2 * np.arange(6.0, dtype=np.float32).reshape(2, 3)).sum()
    )(np.asfortranarray(np.outer(Y[:2], X))),
    "a strided array": lambda J: J.grad(lambda x: (x**2).sum())(np.arange(9, dtype=np.float32)[::3]),
    "a read-only array": lambda J: J.grad(lambda x: (x**2).sum())(np.broadcast_to(A, (3,))),
    "a byte-swapped array": lambda J: J.grad(lambda x: (x**2).sum())(X.astype(">f4").astype(np.float32)),
    "a subclass of arrays": lambda J: J.grad(lambda x: (x**2).sum())(X.view(np.recarray).view(np.ndarray)),
    "an object with __jax_array__": lambda J: J.grad(lambda x: (x * Wrapped()).sum())(X),
    "a shared leaf": lambda J: (lambda x: J.grad(lambda p: (p[0] * p[1]).sum())([x, x]))(jnp.asarray(X)),
}
for _name, _run in ARGUMENTS.items():
    FUNCTIONS.add(f"{_name}, as an argument", _run)

REFUSED = {
    "a long double": (lambda J: J.grad(lambda x: x)(np.longdouble(1)), TypeError),
    "a date": (lambda J: J.grad(lambda x: 1.0)(np.datetime64("2024-01-01")), TypeError),
    "a record": (lambda J: J.grad(lambda x: 1.0)(np.zeros(2, [("a", "f4")])), TypeError),
    "a list in argnums' place": (lambda J: J.grad(lambda x: x[0] * 1.0)([["a"]]), TypeError),
    "a set": (lambda J: J.grad(lambda x: 1.0)({1.0}), TypeError),
    "a generator": (lambda J: J.grad(lambda x: 1.0)(iter([1.0])), Exception),
    "a type": (lambda J: J.grad(lambda x: 1.0)(float), TypeError),
}
for _name, (_run, _error) in REFUSED.items():
    FUNCTIONS.add(f"{_name}, refused", _run, raises=_error)


class Wrapped:
    """What JAX takes for an array."""

    def __jax_array__(self):
        return jnp.asarray(Y)
