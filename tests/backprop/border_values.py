"""What has a value in eager code: data that a rule looks at, and the differentiated arguments themselves.

Where nothing outside is traced JAX evaluates as it differentiates. So Python may branch on what depends on a
differentiated argument, index with it and loop over it, unless that would lose its gradient.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])


def without_jit(run):
    with jax.disable_jit():
        return run()


RULES_ON_DATA = Kind("a custom rule looks at data and at values")


def branching_vjp(test):
    """Twice x y, with a gradient that is doubled where a test of the argument passes."""

    def forward(x, y):
        return 2 * x * y, (x, y, bool(test(x, y)))

    def backward(kept, g):
        x, y, passed = kept
        return (4 if passed else 2) * g * y, (4 if test(x, y) else 2) * g * x

    return vjp_of(lambda x, y: 2 * x * y, forward, backward)


def branching_jvp(test):
    def rule(primals, tangents):
        (x, y), (s, t) = primals, tangents
        factor = 4 if test(x, y) else 2
        return 2 * x * y, factor * (s * y + t * x)

    return jvp_of(lambda x, y: 2 * x * y, rule)


TESTS = {
    "data": lambda x, y: y > 1,
    "a differentiated value": lambda x, y: x > 1,
    "both": lambda x, y: x * y > 1,
    "an int of data": lambda x, y: int(y) == 3,
    "NumPy's value of data": lambda x, y: np.asarray(y) > 1,
    "a float of a stopped value": lambda x, y: float(lax.stop_gradient(x)) > 1,
    "a gradient": lambda x, y: jax.grad(jnp.square)(y) > 1,
}
for _rule, _branching in {"backward rule": branching_vjp, "tangent rule": branching_jvp}.items():
    for _name, _test in TESTS.items():
        RULES_ON_DATA.add(
            f"{_name}, {_rule}",
            lambda J, branching=_branching, test=_test: [J.grad(branching(test))(x, 3.0) for x in (0.1, 2.0)],
        )
        RULES_ON_DATA.add(
            f"{_name}, {_rule}, twice",
            lambda J, branching=_branching, test=_test: J.grad(lambda x: x * J.grad(branching(test))(x, 3.0))(
                2.0
            ),
        )
    RULES_ON_DATA.add(
        f"{_rule} under jit",
        lambda J, branching=_branching: jax.jit(J.grad(branching(TESTS["both"])))(2.0, 3.0),
        raises=jax.errors.TracerBoolConversionError,
    )
    RULES_ON_DATA.add(
        f"{_rule} in a jitted function",
        lambda J, branching=_branching: J.grad(jax.jit(branching(TESTS["both"])))(2.0, 3.0),
        raises=jax.errors.TracerBoolConversionError,
    )


@RULES_ON_DATA()
def data_under_jit_that_are_static(J):
    f = vjp_of(
        lambda n, x: x**n,
        lambda n, x: (x**n, x),
        lambda n, x, g: (g * n * x ** (n - 1) if n > 1 else g,),
        nondiff_argnums=(0,),
    )
    return jax.jit(lambda x: J.grad(lambda x: f(3, x))(x))(2.0), J.grad(lambda x: f(1, x))(2.0)


@RULES_ON_DATA()
def lookup_in_a_dict(J):
    slopes = {0: 1.0, 1: 0.5}
    f = vjp_of(
        lambda x, k: x * slopes[int(k)],
        lambda x, k: (x * slopes[int(k)], int(k)),
        lambda k, g: (g * slopes[k] * 10, None),
    )
    return J.grad(f)(2.0, jnp.int32(1)), J.grad(f)(2.0, np.int32(0))


@RULES_ON_DATA()
def the_primal_looks_at_values(J):
    f = vjp_of(
        lambda x: x * 2 if x > 0 else x, lambda x: (x * 2, None) if x > 0 else (x, 1), lambda r, g: (g * 7,)
    )
    return J.value_and_grad(f)(2.0), f(-2.0)


@RULES_ON_DATA()
def a_numpy_implementation_by_callback(J):
    def host(x):
        return jax.pure_callback(lambda x: np.sin(x), jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    f = vjp_of(host, lambda x: (host(x), x), lambda x, g: (g * jnp.cos(x),))
    return J.grad(lambda x: f(x).sum())(X), jax.jit(J.grad(lambda x: f(x).sum()))(X)


@RULES_ON_DATA()
def the_value_of_a_callback_in_forward_mode(J):
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    f = jax.custom_jvp(lambda x: jax.pure_callback(np.sin, shape, x, vmap_method="sequential"))
    f.defjvp(lambda xs, dots: (f(*xs), jnp.cos(*xs) * dots[0]))
    x = jnp.array([0.3, 0.1, 0.5], jnp.float32)
    df = J.grad(lambda x: (f(x**3) + f(x) ** 2).sum())  # a power looks whether its base has a value
    return jax.jvp(df, (x,), (jnp.ones_like(x),)), jax.jacfwd(df)(x), jax.jacrev(df)(x), J.jacobian(df)(x)


@RULES_ON_DATA()
def a_numpy_implementation_in_eager_code(J):
    f = vjp_of(
        lambda x: jnp.asarray(np.sin(np.asarray(x))),
        lambda x: (jnp.asarray(np.sin(np.asarray(x))), np.cos(np.asarray(x))),
        lambda cos, g: (g * cos,),
    )
    return J.grad(lambda x: f(x).sum())(X)


@RULES_ON_DATA()
def a_solver_that_iterates_until_it_is_done(J):
    def solve(a):
        x, steps = 1.0, 0
        while abs(x * x - a) > 1e-3 and steps < 50:
            x, steps = (x + a / x) / 2, steps + 1
        return jnp.asarray(x)

    f = vjp_of(solve, lambda a: (lambda x: (x, x))(solve(a)), lambda x, g: (g / (2 * x),))
    return J.value_and_grad(f)(2.0)


VALUES = Kind("a differentiated argument has a value")

SCALAR_VALUES = {
    "if": lambda x: x**2 if x > 1 else -x,
    "if not": lambda x: -x if not x > 1 else x**2,
    "equality": lambda x: x**2 if x == 2.5 else x,
    "a chained comparison": lambda x: x**2 if 1 < x < 3 else x,
    "and, or": lambda x: x**2 if x > 1 and (x < 0 or x > 2) else x,
    "membership": lambda x: x**2 if x in [1.0, 2.5] else x,
    "abs": lambda x: abs(x - 3) ** 2,
    "max and min": lambda x: max(x, 1.0) * min(x, 2.0) + min(x, 7.0),
    "round": lambda x: round(x) * x,
    "divmod": lambda x: sum(divmod(x, 2.0)) * x,
    "int": lambda x: int(x) * x,
    "range of an int": lambda x: sum(x * k for k in range(int(x) + 1)),
    "float of a stopped value": lambda x: float(lax.stop_gradient(x)) * x,
    "math of a stopped value": lambda x: math.sin(lax.stop_gradient(x)) * x,
    "NumPy of a stopped value": lambda x: np.asarray(lax.stop_gradient(x)) * x,
    "a power by its value": lambda x: x ** int(lax.stop_gradient(x)),
    "an assertion": lambda x: x**2 if bool(jnp.isfinite(x)) else 0.0 * x,
    "a comparison of two values": lambda x: x * 2 if jnp.sin(x) > jnp.cos(x) else x * 3,
    "a constant out of a branch": lambda x: x if x > 3 else 1.0,
    "an int out of a branch": lambda x: x if x < 3 else 1,
}
for _i, (_name, _f) in enumerate(SCALAR_VALUES.items()):
    VALUES.add(_name, lambda J, f=_f: J.value_and_grad(f)(2.5))
    if _i % 2:
        VALUES.add(f"{_name}, twice", lambda J, f=_f: J.grad(lambda x: x * J.grad(f)(x))(jnp.float32(2.5)))
    else:
        VALUES.add(f"{_name}, vjp", lambda J, f=_f: J.vjp(f, jnp.float32(2.5))[1](jnp.float32(1.5)))

ARRAY_VALUES = {
    "a mask": lambda x: (x[x > 0] ** 2).sum(),
    "a mask that is assigned": lambda x: x.at[x < 0].set(0.0).sum(),
    "argmax": lambda x: x[int(jnp.argmax(x))] ** 2,
    "argmax as an index": lambda x: [1.0, 2.0, 3.0][jnp.argmax(x)] * x.sum(),
    "nonzero": lambda x: (x[jnp.nonzero(x > 0)] ** 2).sum(),
    "argsort to a list": lambda x: sum(x[i] * k for k, i in enumerate(jnp.argsort(x).tolist())),
    "sorted": lambda x: sorted(x)[0] * 3,
    "max of Python": lambda x: max(x) ** 2,
    "any": lambda x: (x**2).sum() if any(x > 1) else x.sum(),
    "all": lambda x: (x**2).sum() if jnp.all(x > 0) else x.sum(),
    "NumPy of a comparison": lambda x: (x * np.where(np.asarray(x > 0), 1.0, 0.1).astype(np.float32)).sum(),
    "NumPy of an index": lambda x: x[np.asarray(jnp.argsort(x))[:2]].prod(),
    "a comparison in a list": lambda x: sum(v for v, keep in zip(x, (x > 0).tolist(), strict=True) if keep),
    "a count": lambda x: x.sum() / int((x > 0).sum()),
    "a shape by values": lambda x: (jnp.ones(int((x > 0).sum())) * x.max()).sum(),
    "a loop over elements": lambda x: sum(v**2 if v > 0 else v for v in x),
    "where without alternatives": lambda x: x[jnp.where(x > 0)[0]].prod(),
    "a slice by values": lambda x: (x[: int(jnp.argmin(x)) + 1] ** 2).sum(),
    "a float of a stopped norm": lambda x: (x / float(jnp.linalg.norm(lax.stop_gradient(x)))).sum(),
    "the dtype of a rounded value": lambda x: x.sum() * (x.astype(int) == 1).sum().item(),
    "unpacking": lambda x: (lambda a, b, c: a * b + c if c > b else a)(*x),
}
for _i, (_name, _f) in enumerate(ARRAY_VALUES.items()):
    VALUES.add(_name, lambda J, f=_f: J.value_and_grad(f)(X))
    if _i % 2:
        VALUES.add(f"{_name}, twice", lambda J, f=_f: J.grad(lambda x: (x * J.grad(f)(x)).sum())(X))
    else:
        VALUES.add(f"{_name}, jacobian", lambda J, f=_f: J.jacobian(lambda x: f(x) * Y)(X))

REFUSED = {
    "under jit": lambda J: jax.jit(J.grad(SCALAR_VALUES["if"]))(2.5),
    "in a jitted function": lambda J: J.grad(jax.jit(SCALAR_VALUES["if"]))(2.5),
    "under vmap": lambda J: jax.vmap(J.grad(SCALAR_VALUES["if"]))(X),
    "in a vmapped function": lambda J: J.grad(lambda x: jax.vmap(SCALAR_VALUES["if"])(x).sum())(X),
    "in a scan": lambda J: J.grad(
        lambda x: lax.scan(lambda c, _: (SCALAR_VALUES["if"](c), c), x, length=2)[0]
    )(2.5),
    "in a branch": lambda J: J.grad(lambda x: lax.cond(x > 0, SCALAR_VALUES["if"], jnp.sin, x))(2.5),
    "in a checkpointed function": lambda J: J.grad(jax.checkpoint(SCALAR_VALUES["if"]))(2.5),
    "under a scan": lambda J: lax.scan(lambda c, _: (J.grad(SCALAR_VALUES["if"])(c), c), 2.5, length=2),
    "of a constant under jit": lambda J: jax.jit(lambda: J.grad(SCALAR_VALUES["if"])(2.5))(),
    "of data that a checkpointed function gets": lambda J: J.grad(
        lambda x, y: jax.checkpoint(lambda x, y: x if y > 0 else -x)(x, y)
    )(2.5, 1.0),
    "of data that a jitted function gets": lambda J: J.grad(
        lambda x, y: jax.jit(lambda x, y: x if y > 0 else -x)(x, y)
    )(2.5, 1.0),
    "of data that a scan gets": lambda J: J.grad(
        lambda x: lax.scan(lambda c, y: (c * y if y > 0 else c, None), x, Y)[0]
    )(2.5),
    "of data that a vmapped function gets": lambda J: J.grad(
        lambda x, y: jax.vmap(lambda x, y: x if y > 0 else -x)(x, y).sum()
    )(X, Y),
    "a mask under jit": lambda J: jax.jit(J.grad(ARRAY_VALUES["a mask"]))(X),
    "an index under jit": lambda J: jax.jit(J.grad(ARRAY_VALUES["argmax"]))(X),
    "a stopped float under jit": lambda J: jax.jit(J.grad(SCALAR_VALUES["float of a stopped value"]))(2.5),
    "NumPy under jit": lambda J: jax.jit(J.grad(ARRAY_VALUES["NumPy of a comparison"]))(X),
    "a list under jit": lambda J: jax.jit(J.grad(ARRAY_VALUES["argsort to a list"]))(X),
}
for _name, _use in REFUSED.items():
    VALUES.add(_name, _use, raises=Exception)  # the very type is compared

FLOATS = {
    "float": lambda x: float(x) * x,
    "math": lambda x: math.sin(x) * x,
    "NumPy's array": lambda x: np.asarray(x) * x,
    "a function of NumPy": lambda x: np.sin(x) * x,
    "hash": lambda x: {x: 2.0}[x] * x,
}
for _name, _f in FLOATS.items():
    VALUES.add(
        f"{_name}, which would lose the gradient",
        lambda J, f=_f: J.grad(f)(jnp.float32(2.5)),
        raises=TypeError,
    )


@VALUES(raises=ValueError)
def the_truth_of_an_array(J):
    return J.grad(lambda x: x.sum() if x else 0.0)(X)


@VALUES()
def while_loop_of_python(J):
    def halve(x):
        while x > 1:
            x = x / 2
        return x**2

    return [J.value_and_grad(halve)(x) for x in (0.5, 5.0, 40.0)]


@VALUES()
def newton_until_convergence(J):
    def root(a):
        x = a
        while abs(x * x - a) > 1e-4:
            x = (x + a / x) / 2
        return x

    return J.value_and_grad(root)(jnp.float32(2))


@VALUES()
def recursion_by_value(J):
    def power(x):
        return x * power(x - 1) if x > 1 else x

    return J.value_and_grad(power)(3.5)


@VALUES()
def a_tree_by_value(J):
    def f(p):
        return p["a"] ** 2 if p["b"][0] > p["a"] else p["b"][0]

    return J.grad(f)({"a": 1.0, "b": [2.0]}), J.grad(f)({"a": 3.0, "b": [2.0]})


@VALUES()
def structures_by_value(J):
    f = lambda x: {"positive": x} if x > 0 else [x, x**2]  # noqa: E731
    return J.jacobian(f)(2.0), J.jacobian(f)(-2.0)


@VALUES()
def exceptions_by_value(J):
    def f(x):
        if x < 0:
            raise KeyError("negative")
        return x**2

    try:
        return J.grad(f)(2.0), J.grad(f)(-2.0)
    except KeyError as error:
        return str(error)


@VALUES()
def loops_while_jit_is_disabled(J):
    def f(x):
        x = lax.fori_loop(0, 3, lambda i, x: x * 2 if x < 5 else x, x)
        return lax.scan(lambda c, y: (c * y if c > 1 else c, None), x, Y)[0]

    return without_jit(lambda: J.grad(f)(1.5))


@VALUES(raises=None)
def branches_while_jit_is_disabled(J):
    return without_jit(lambda: J.grad(jax.jit(lambda x: lax.cond(x > 1, jnp.sin, jnp.cos, x)))(1.5))


@VALUES()
def under_an_outer_gradient_of_jax(J):
    return jax.grad(lambda x: J.grad(SCALAR_VALUES["if"])(x) * x)(2.5)


@VALUES()
def line_search(J):
    def loss(x):
        return ((x - 1) ** 2).sum()

    x, step = jnp.asarray(X), 4.0
    value, slope = J.value_and_grad(loss)(x)
    while loss(x - step * slope) > value - 1e-4 * step * (slope**2).sum():
        step /= 2
    return x - step * slope, step


@VALUES()
def a_module_with_a_flag(J):
    class Net:
        def __init__(self, w):
            self.w, self.calls = w, []

        def __call__(self, x):
            self.calls.append(bool((x > 0).any()))
            return jnp.where(self.calls[-1], x * self.w, x)

    net = Net(jnp.asarray(Y))
    return J.grad(lambda x: net(x).sum())(X), net.calls


@VALUES()
def values_printed(J):
    return J.grad(
        lambda x: (x.sum(), f"{x > 0} {int(jnp.argmax(x))} {lax.stop_gradient(x)[0]:.2f}"), has_aux=True
    )(X)


@VALUES()
def what_has_a_value(J):
    def f(x):
        parts = (x, x * 2, x > 0, x.astype(int), jnp.argmax(x), lax.stop_gradient(x), x.shape[0], jnp.sign(x))
        return x.sum(), [isinstance(part, jax.core.Tracer) for part in parts]

    return J.grad(f, has_aux=True)(X)


for _f in (jnp.arcsinh, jnp.sin):  # of arcsinh JAX's forward rule asks the number for a dtype
    VALUES.add(f"jvp of {_f.__name__}", lambda J, f=_f: jax.jvp(J.grad(f), (0.7,), (1.0,)))
    VALUES.add(f"jacfwd of {_f.__name__}", lambda J, f=_f: jax.jacfwd(J.grad(f))(0.7))
