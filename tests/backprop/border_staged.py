"""What JAX does not trace: data, labels, shapes and flags stay what they are.

Python may branch on them, index with them and loop over them, in eager code, under vmap and inside another
gradient; under jit only where JAX evaluates them there.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import functools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import Kind

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
LABELS = np.array([1, 0, 1])

DATA = Kind("data is not traced")


def nonzero_labels(x, y):
    return (x[y == 1] ** 2).sum()


def loop_to_the_largest(x, y):
    for _ in range(int(jnp.max(y)) + 2):
        x = jnp.sin(x)
    return x.sum()


def branch_on_any(x, y):
    return (x**2).sum() if jnp.any(y > 0) else x.sum()


def branch_on_all(x, y):
    return (x**2).sum() if (y > 0).all() else x.sum()


def unique(x, y):
    return sum((x[k] * (i + 1)).sum() for i, k in enumerate(jnp.unique(y)))


def numpy_of_a_sum(x, y):
    return x.sum() * np.asarray(jnp.sum(y)) + x[: int(np.asarray(jnp.sum(y)))].sum()


def item(x, y):
    return x[jnp.argmax(y).item()] ** 2


def tolist(x, y):
    return sum(x[i] * (i + 1) for i in jnp.argsort(y).tolist())


def index(x, y):
    return x[int(jnp.argmin(y)) :].sum() * float(jnp.mean(y))


def iterate(x, y):
    return sum(x[int(label)] * (i + 1) for i, label in enumerate(jnp.asarray(y)))


def nonzero(x, y):
    (places,) = jnp.nonzero(jnp.asarray(y))
    return (x[places] ** 2).sum()


def where_with_one_argument(x, y):
    return (x[jnp.where(y == 0)[0]] ** 3).sum()


def repeat(x, y):
    return (jnp.repeat(x, jnp.asarray(y) + 1) ** 2).sum()


def shape_from_data(x, y):
    return (jnp.ones(int(y.max()) + 1) * x.sum()).sum() + jnp.arange(jnp.sum(y)).sum() * x[0]


def while_on_data(x, y):
    n = jnp.sum(y)
    while n > 0:
        x, n = x * 2, n - 1
    return x.sum()


def comparison_in_python(x, y):
    return x.sum() * max(jnp.sum(y), 1) + x[0] * min(*map(int, y))


def dictionary(x, y):
    return {0: x.sum(), 2: (x**2).sum()}[int(jnp.sum(y))]


def formatted(x, y):
    return (x**2).sum() * len(f"{jnp.sum(y)}") + x[0] * (f"{float(jnp.mean(y)):.3f}" == "0.667")


def assertion(x, y):
    assert jnp.all((y == 0) | (y == 1)), "labels are 0 or 1"
    return (x * y).sum()


def bincount(x, y):
    return (x[: len(jnp.bincount(jnp.asarray(y)))] * jnp.bincount(jnp.asarray(y))).sum()


def split_at_data(x, y):
    left, right = jnp.split(x, [int(y.sum())])
    return (left**2).sum() + right.sum() * 3


def numpy_function(x, y):
    return (x * np.unique(np.asarray(jnp.asarray(y) * 2), return_inverse=True)[1]).sum()


def numpy_generator(x, y):
    rng = np.random.default_rng(int(jnp.sum(y)))
    return (x * rng.normal(size=3)).sum()


def intersection(x, y):
    return x[jnp.setdiff1d(jnp.arange(3), jnp.asarray(y))].sum()


def extract(x, y):
    return jnp.extract(jnp.asarray(y) == 1, x).sum()


def array_of_arrays(x, y):
    return (x * np.array([float(v) for v in jnp.asarray(y)], np.float32)).sum()


def isinstance_of_array(x, y):
    return x.sum() * (2 if isinstance(jnp.sum(y), jax.core.Tracer) else 3)


def block_until_ready(x, y):
    return (x * (jnp.asarray(y) + 1).block_until_ready()).sum()


def device_get(x, y):
    return (x * jax.device_get(jnp.asarray(y) + 1)).sum()


def switch_by_data(x, y):
    return [jnp.sum, jnp.prod, jnp.max][int(jnp.sum(y))](x)


def cached(x, y):
    @functools.cache
    def power(n):
        return n + 1

    return (x ** power(int(jnp.sum(y)))).sum()


def masked_by_numpy(x, y):
    return (x * np.where(np.asarray(jnp.asarray(y) > 0), 2.0, 3.0).astype(np.float32)).sum()


EXAMPLES = [
    nonzero_labels,
    loop_to_the_largest,
    branch_on_any,
    branch_on_all,
    unique,
    numpy_of_a_sum,
    item,
    tolist,
    index,
    iterate,
    nonzero,
    where_with_one_argument,
    repeat,
    shape_from_data,
    while_on_data,
    comparison_in_python,
    dictionary,
    formatted,
    assertion,
    bincount,
    split_at_data,
    numpy_function,
    numpy_generator,
    intersection,
    extract,
    array_of_arrays,
    isinstance_of_array,
    block_until_ready,
    device_get,
    switch_by_data,
    cached,
    masked_by_numpy,
]
"""Each is a loss of x, and of labels that Python looks at."""

for _i, _f in enumerate(EXAMPLES):
    _name = _f.__name__.replace("_", " ")
    DATA.add(_name, lambda J, f=_f: J.value_and_grad(f)(X, LABELS))
    DATA.add(f"{_name}, JAX arrays", lambda J, f=_f: J.grad(f)(jnp.asarray(X), jnp.asarray(LABELS)))
    if _i % 3 == 0:
        DATA.add(
            f"{_name}, vmap outside",
            lambda J, f=_f: jax.vmap(J.grad(lambda x: f(x, LABELS)))(np.stack([X, Y])),
        )
    if _i % 3 == 1:
        DATA.add(f"{_name}, twice", lambda J, f=_f: J.grad(lambda x: (J.grad(f)(x, LABELS) * x).sum())(X))

for _f in (branch_on_any, loop_to_the_largest, item, nonzero, numpy_of_a_sum, assertion):
    DATA.add(
        f"{_f.__name__.replace('_', ' ')}, jit outside",
        lambda J, f=_f: jax.jit(J.grad(f))(X, LABELS),
        raises=jax.errors.JAXTypeError,
    )

PLACES = {
    "the first argument": lambda J: J.grad(lambda y, x: nonzero_labels(x, y), 1)(LABELS, X),
    "the last of three": lambda J: J.grad(lambda y, x, z: loop_to_the_largest(x * z, y), (1, 2))(
        LABELS, X, 2.0
    ),
    "a negative argnum": lambda J: J.grad(lambda y, x: item(x, y), -1)(LABELS, X),
    "a keyword": lambda J: J.grad(lambda x, *, y: branch_on_any(x, y))(X, y=LABELS),
    "in a dict": lambda J: J.grad(lambda x, d: unique(x, d["y"]) * len(d["name"]))(
        X, {"y": LABELS, "name": "ab"}
    ),
    "closed over": lambda J: J.grad(lambda x: while_on_data(x, LABELS))(X),
    "a partial": lambda J: J.grad(functools.partial(lambda y, x: tolist(x, y), jnp.asarray(LABELS)))(X),
    "a jitted function of data": lambda J: J.grad(
        lambda x, y: loop_to_the_largest(x, jax.jit(lambda y: y + 0)(y))
    )(X, LABELS),
    "a vmapped function of data": lambda J: J.grad(lambda x, y: tolist(x, jax.vmap(lambda y: -y)(y)))(
        X, LABELS
    ),
    "a scan over data": lambda J: J.grad(
        lambda x, y: x[int(lax.scan(lambda c, y: (c + y, c), 0, y)[0])] ** 2
    )(X, LABELS),
    "a while loop over data": lambda J: J.grad(
        lambda x, y: x[int(lax.while_loop(lambda n: n < y[0], lambda n: n + 1, 0))] ** 2
    )(X, LABELS),
    "a branch by data": lambda J: J.grad(lambda x, y: x[int(lax.cond(y[0] > 0, lambda: 2, lambda: 1))] ** 2)(
        X, LABELS
    ),
    "a gradient of data": lambda J: J.grad(lambda x, y: x * 2 if J.grad(lambda y: y**2)(y) > 1 else x)(
        2.0, 3.0
    ),
    "JAX's gradient of data": lambda J: J.grad(lambda x, y: x * 2 if jax.grad(lambda y: y**2)(y) > 1 else x)(
        2.0, 3.0
    ),
    "a custom rule's value of data": lambda J: J.grad(lambda x, y: x * 2 if jax.nn.relu(y) > 1 else x)(
        2.0, 3.0
    ),
    "random data": lambda J: J.grad(lambda x, key: x * 2 if jax.random.uniform(key) > 0 else x)(
        2.0, jax.random.key(0)
    ),
    "random data of a seed": lambda J: J.grad(lambda x: x * float(jax.random.normal(jax.random.PRNGKey(0))))(
        2.0
    ),
    "a shape": lambda J: J.grad(lambda x: x.sum() * math.prod(x.shape) / x.ndim if x.size > 2 else x.sum())(
        X
    ),
    "a dtype": lambda J: J.grad(lambda x: x.sum() * (2 if x.dtype == jnp.float32 else 3))(X),
    "data of an outer gradient": lambda J: J.grad(
        lambda y: J.grad(lambda x: x**2 * y if y > 1 else x)(3.0) * (y if y < 5 else 1)
    )(2.0),
    "data of JAX's outer gradient": lambda J: jax.grad(
        lambda y: J.grad(lambda x: x**2 * y if y > 1 else x)(3.0)
    )(2.0),
    "data in JAX's jvp": lambda J: jax.jvp(
        lambda y: J.grad(lambda x: x**2 * y if y > 1 else x)(3.0), (2.0,), (1.0,)
    ),
    "data that vjp closes over": lambda J: J.vjp(lambda x: branch_on_any(x, LABELS), X)[1](jnp.float32(2)),
    "data of a jacobian": lambda J: J.jacobian(lambda x, y: x[y == 1] ** 2)(X, LABELS),
    "data of a hessian": lambda J: J.hessian(lambda x, y: (x[y == 1] ** 3).sum())(X, LABELS),
    "labels beside the jitted part": lambda J: J.grad(
        lambda x, y: jax.jit(lambda x: (x**2).sum())(x[jnp.asarray(y) == 1])
    )(X, LABELS),
    "a checkpointed function closes over data": lambda J: J.grad(
        lambda x, y: jax.checkpoint(lambda x: jnp.sin(x[int(y.sum())]))(x)
    )(X, LABELS),
    "ensure compile time eval under jit": lambda J: jax.jit(J.grad(evaluated_at_compile_time))(X),
    "NumPy's values under jit": lambda J: jax.jit(J.grad(lambda x: nonzero_labels(x, LABELS)))(X),
    "a pure callback on data": lambda J: J.grad(
        lambda x, y: (
            x * jax.pure_callback(lambda y: np.float32(y + 1), jax.ShapeDtypeStruct((), np.float32), y)
        )
    )(2.0, np.float32(3)),
    "eigenvalues of data": lambda J: J.grad(
        lambda x, y: x.sum() * jnp.linalg.eigvals(jnp.outer(y, y)).real.max()
    )(X, Y),
    "jit is disabled": lambda J: without_jit(lambda: J.grad(jax.jit(branch_on_any))(X, LABELS)),
}
for _name, _use in PLACES.items():
    DATA.add(_name, _use)


def evaluated_at_compile_time(x):
    with jax.ensure_compile_time_eval():
        n = int(jnp.sum(jnp.asarray(LABELS)))
    return (x**n).sum()


def without_jit(run):
    with jax.disable_jit():
        return run()


KEPT = {
    "a mean of data": lambda keep: lambda x, y: (keep(y.mean()), (x * y).sum())[1],
    "data made inside": lambda keep: lambda x, y: (keep(jnp.sin(jnp.arange(3.0))), (x * y).sum())[1],
    "a comparison": lambda keep: lambda x, y: (keep(x > 0), x.sum())[1],
    "an index": lambda keep: lambda x, y: (keep(jnp.argmax(x)), x.max())[1],
    "a rounded value": lambda keep: lambda x, y: (keep(x.astype(int)), x.sum())[1],
    "a stopped value": lambda keep: lambda x, y: (keep(lax.stop_gradient(x * 2)), x.sum())[1],
    "a dict of data": lambda keep: lambda x, y: (keep({"y": y + 1, "n": 3}), x.sum())[1],
    "a result of a scan over data": lambda keep: lambda x, y: (keep(jnp.cumsum(y)), x.sum())[1],
    "a result of a jitted function": lambda keep: lambda x, y: (keep(jax.jit(jnp.sort)(y)), x.sum())[1],
    "a random number": lambda keep: lambda x, y: (keep(jax.random.uniform(jax.random.key(1))), x.sum())[1],
    "a gradient of data": lambda keep: lambda x, y: (keep(jax.grad(jnp.sum)(y)), x.sum())[1],
}
for _name, _make in KEPT.items():
    for _place, _run in {
        "grad": lambda J, f: J.grad(f)(X, jnp.asarray(Y)),
        "vjp": lambda J, f: J.vjp(lambda x: f(x, jnp.asarray(Y)), X)[0],
        "jacobian": lambda J, f: J.jacobian(lambda x, y: f(x, y) * x)(X, jnp.asarray(Y)),
    }.items():
        DATA.add(
            f"{_name} is kept in a list by {_place}",
            lambda J, make=_make, run=_run: (lambda kept: (run(J, make(kept.append)), kept))([]),
        )


@DATA()
def how_often_the_function_is_called(J):
    calls = []

    def f(x):
        calls.append(1)
        return (x**2).sum()

    J.grad(f)(X), J.value_and_grad(f)(X), J.vjp(f, X), J.jacobian(f)(X)
    return len(calls)


@DATA()
def what_is_a_tracer(J):
    def f(x, y, n):
        kinds = [isinstance(v, jax.core.Tracer) for v in (y, y + 1, y > 0, n, n * 2, jnp.sum(y) + n)]
        return x.sum(), kinds

    return J.grad(f, has_aux=True)(X, jnp.asarray(Y), 3)


@DATA()
def what_types_data_have(J):
    def f(x, y, n, s, z):
        return x.sum(), [type(v).__name__ for v in (y, n, s, z, z[0])]

    return J.grad(f, has_aux=True)(X, Y, 3, "word", [None, 2.0])


@DATA()
def data_identity(J):
    y = jnp.asarray(Y)
    return J.grad(lambda x, z: (x.sum(), [z is y]), has_aux=True)(X, y)


@DATA()
def a_debug_callback_on_data(J):
    seen = []

    def f(x, y):
        jax.debug.callback(lambda y: seen.append(np.asarray(y)), y)
        return (x * y).sum()

    gradient = J.grad(f)(X, Y)
    jax.effects_barrier()
    return gradient, seen


@DATA()
def a_debug_callback_on_values(J):
    seen = []

    def f(x):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x * 2)
        return (x**2).sum()

    gradient = J.grad(f)(X)
    jax.effects_barrier()
    return gradient, seen


@DATA()
def an_error_that_data_causes(J):
    def f(x, y):
        if jnp.any(y < 0):
            raise KeyError("negative")
        return (x * y).sum()

    try:
        return J.grad(f)(X, Y)
    except KeyError as error:
        return str(error)


@DATA()
def a_warning_that_data_causes(J):
    def f(x, y):
        if jnp.any(y < 0):
            warnings.warn("negative", stacklevel=1)
        return (x * y).sum()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        return J.grad(f)(X, Y), [str(warning.message) for warning in seen]


@DATA()
def newton_steps_until_data_converge(J):
    def f(x, y):
        steps = 0
        while abs(y**2 - 2) > 1e-3:
            y, steps = (y + 2 / y) / 2, steps + 1
        return x * y * steps

    return J.grad(f)(3.0, jnp.float32(1))


@DATA()
def batches_of_data(J):
    def loss(w, batches):
        total = 0.0
        for batch in batches:
            if batch.shape[0] and bool((batch > 0).any()):
                total += ((batch @ w) ** 2).sum()
        return total

    return J.grad(loss)(X, [np.outer(Y, X)[:2], np.zeros((2, 3), np.float32), np.zeros((0, 3), np.float32)])
