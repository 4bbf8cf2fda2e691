"""What a user's own rule closes over: local values, and tracers of other transformations."""

# ruff: noqa: N803
# J is a library that differentiates.

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import JAX, Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
A, B = np.float32([0.3, 0.7])

CLOSURES = Kind("a rule closes over local values")


def closing_vjp(c):
    """c sin x, with a backward rule that closes over c."""
    return vjp_of(lambda x: c * jnp.sin(x), lambda x: (c * jnp.sin(x), x), lambda x, g: (c * g * jnp.cos(x),))


def closing_jvp(c):
    """c sin x, with a tangent rule that closes over c."""
    return jvp_of(lambda x: c * jnp.sin(x), lambda p, t: (c * jnp.sin(p[0]), c * jnp.cos(p[0]) * t[0]))


def plain(c):
    """c sin x without a rule of its own: what is right where JAX refuses the closure."""
    return lambda x: c * jnp.sin(x)


def of_a_local_value(closing):
    return lambda x: closing(jnp.sin(jnp.float32(3)))(x)


STAGED = ("jit inside", "scan inside", "fori_loop inside", "cond inside", "checkpoint inside")
"""Where JAX refuses a closure over what was computed there: it is a tracer, gone when the rule runs."""

RULES = {"custom_vjp": closing_vjp, "custom_jvp": closing_jvp}
for _rule, _closing in RULES.items():
    CLOSURES.around(f"an array, {_rule}", functools.partial(_closing, jnp.float32(3)))
    CLOSURES.around(
        f"a value computed inside, {_rule}", functools.partial(of_a_local_value, _closing), without=STAGED
    )

    CLOSURES.around(
        f"a stopped value of the argument, {_rule}",
        lambda closing=_closing: lambda x: closing(lax.stop_gradient(jnp.sin(x)))(x),
        without=(*STAGED, "vmap inside"),
    )

CLOSED_OVER = {
    "a function of data": lambda J, rule: J.grad(lambda x, y: rule(jnp.sin(y))(x).sum())(X, Y),
    "a function of data, jit outside": lambda J, rule: jax.jit(
        J.grad(lambda x, y: rule(jnp.sin(y))(x).sum())
    )(X, Y),
    "a tracer of vmap": lambda J, rule: jax.vmap(J.grad(lambda x, y: rule(jnp.sin(y))(x)))(X, Y),
    "a tracer of vmap over the closed alone": lambda J, rule: jax.vmap(
        lambda y: J.grad(lambda x: rule(jnp.sin(y))(x))(A)
    )(Y),
    "a tracer of an outer gradient": lambda J, rule: J.grad(
        lambda y: J.grad(lambda x: rule(jnp.sin(y))(x))(A)
    )(B),
    "a tracer of JAX's gradient": lambda J, rule: jax.grad(
        lambda y: J.grad(lambda x: rule(jnp.sin(y))(x))(A)
    )(B),
    "a tracer of JAX's jvp": lambda J, rule: jax.jvp(
        lambda y: J.grad(lambda x: rule(jnp.sin(y))(x))(A), (B,), (np.float32(1),)
    ),
    "a tracer of a scan around": lambda J, rule: lax.scan(
        lambda c, y: (c, J.grad(lambda x: rule(jnp.sin(y))(x))(c)), A, Y
    )[1],
    "a stopped value": lambda J, rule: J.grad(lambda x: rule(lax.stop_gradient(jnp.sin(x)))(x))(B),
    "a mask of the argument, jit and vmap outside": lambda J, rule: jax.jit(
        jax.vmap(J.value_and_grad(lambda x: rule(x > 0)(x)))
    )(X),
    "a mask": lambda J, rule: J.grad(lambda x, y: rule(y > 0)(x).sum())(X, Y),
    "a random number": lambda J, rule: J.grad(lambda x, key: rule(jax.random.uniform(key))(x))(
        B, jax.random.key(0)
    ),
    "a shape": lambda J, rule: J.grad(lambda x: rule(float(x.shape[0]))(x).sum())(X),
    "a value of data in a scan's body": lambda J, rule: J.grad(
        lambda x: lax.scan(lambda c, y: (rule(jnp.sin(y))(c), None), x, Y)[0]
    )(B),
    "a value of data around a scan": lambda J, rule: J.grad(
        lambda x, y: lax.scan(lambda c, _: (rule(jnp.sin(y[0]))(c), None), x, length=2)[0]
    )(B, Y),
    "the counter of a loop": lambda J, rule: J.grad(
        lambda x: lax.fori_loop(0, 3, lambda i, c: rule(i / 2.0)(c), x)
    )(B),
    "a value of data in a branch": lambda J, rule: J.grad(
        lambda x, y: lax.cond(y[0] > 0, lambda x: rule(jnp.sin(y[0]))(x), jnp.sin, x)
    )(B, Y),
    "a value of data in a checkpoint": lambda J, rule: J.grad(
        lambda x, y: jax.checkpoint(lambda x: rule(jnp.sin(y[0]))(jnp.cos(x)))(x)
    )(B, Y),
    "a value of data in a jitted function": lambda J, rule: J.grad(
        lambda x, y: jax.jit(lambda x: rule(jnp.sin(y))(x).sum())(x)
    )(X, Y),
    "a value of data in a vmapped function": lambda J, rule: J.grad(
        lambda x, y: jax.vmap(lambda x, y: rule(jnp.sin(y))(x))(x, y).sum()
    )(X, Y),
}
DIFFERENTIATED = {
    "a differentiated value": lambda J, rule: J.grad(lambda x: rule(jnp.sin(x))(2.0))(B),
    "a differentiated value that is the argument too": lambda J, rule: J.grad(lambda x: rule(jnp.sin(x))(x))(
        0.7
    ),
    "a differentiated value in jit": lambda J, rule: J.grad(jax.jit(lambda x: rule(jnp.sin(x))(2.0)))(B),
    "a differentiated value under jit": lambda J, rule: jax.jit(J.grad(lambda x: rule(jnp.sin(x))(2.0)))(B),
}
REFUSED = {
    "custom_vjp": (
        "a value of data in a scan's body",
        "a value of data around a scan",
        "the counter of a loop",
        "a value of data in a branch",
        "a value of data in a checkpoint",
        "a value of data in a jitted function",
        "a value of data in a vmapped function",
    ),
    "custom_jvp": (
        "a value of data in a scan's body",
        "a value of data around a scan",
        "the counter of a loop",
        "a value of data in a branch",
        "a value of data in a checkpoint",
        "a value of data in a jitted function",
    ),
}
"""Of these JAX says that a tracer leaked. They have an answer."""

for _rule, _closing in RULES.items():
    for _name, _use in CLOSED_OVER.items():
        CLOSURES.add(
            f"{_name}, {_rule}",
            lambda J, closing=_closing, use=_use: use(J, closing),
            raises=TypeError if _name in REFUSED[_rule] else None,
            right=(lambda use=_use: use(JAX, plain)) if _name in REFUSED[_rule] else None,
        )
    for _name, _use in DIFFERENTIATED.items():
        CLOSURES.add(
            f"{_name}, {_rule}",
            lambda J, closing=_closing, use=_use: use(J, closing),
            raises=Exception,  # of two private types, by version and place
            right=lambda use=_use: use(JAX, plain),
        )


@CLOSURES()
def a_method_as_a_rule(J):
    class Layer:
        def __init__(self, scale):
            self.scale = scale
            self.f = vjp_of(self.primal, self.forward, self.backward)

        def primal(self, x):
            return self.scale * jnp.sin(x)

        def forward(self, x):
            return self.primal(x), x

        def backward(self, x, g):
            return (self.scale * g * jnp.cos(x),)

    return J.grad(lambda x, y: Layer(jnp.exp(y)).f(x).sum())(X, Y)


@CLOSURES()
def methods_of_a_module(J):
    class Layer:
        @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
        def f(self, x):
            return x * self.scale

        def forward(self, x):
            return Layer.f(self, x), None

        def backward(self, _, g):
            return (g * self.scale,)

        f.defvjp(forward, backward)

    layer = Layer()
    layer.scale = jnp.float32(3)
    f = functools.partial(Layer.f, layer)
    return J.grad(lambda x: f(x).sum())(X), jax.jit(J.grad(lambda x: f(x).sum()))(X)


@CLOSURES()
def a_module_that_is_differentiated(J):
    @jax.tree_util.register_pytree_node_class
    class Layer:
        def __init__(self, scale, name):
            self.scale, self.name = scale, name

        def tree_flatten(self):
            return (self.scale,), self.name

        @classmethod
        def tree_unflatten(cls, name, leaves):
            return cls(*leaves, name)

        @jax.custom_vjp
        def f(self, x):
            return x * self.scale

    def forward(self, x):
        return x * self.scale, (self, x)

    def backward(kept, g):
        self, x = kept
        return Layer((g * x).sum(), self.name), g * self.scale * 10

    Layer.f.defvjp(forward, backward)
    layer = Layer(jnp.float32(3), "first")
    gradient, x_bar = J.grad(lambda layer, x: Layer.f(layer, x).sum(), (0, 1))(layer, X)
    return gradient.scale, gradient.name, x_bar


@CLOSURES()
def a_partial_as_a_rule(J):
    def run(x, y):
        c = jnp.sin(y)
        f = jax.custom_vjp(functools.partial(jnp.multiply, c))
        f.defvjp(
            functools.partial(lambda c, x: (c * x, None), c), functools.partial(lambda c, _, g: (c * g,), c)
        )
        return f(x).sum()

    return J.grad(run)(X, Y)


@CLOSURES()
def a_closure_converted_function(J):
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def apply(f, x, *consts):
        return f(x, *consts)

    def forward(f, x, *consts):
        return f(x, *consts), (x, consts)

    def backward(f, kept, g):
        x, consts = kept
        return J.vjp(f, x, *consts)[1](g)

    apply.defvjp(forward, backward)

    def run(x, y):
        f, consts = jax.custom_derivatives.closure_convert(lambda x: jnp.sin(x * y), x)
        return apply(f, x, *consts)

    return J.grad(run, (0, 1))(0.7, 1.5)


@CLOSURES()
def a_converted_function_that_hoists_data(J):
    def run(x, y):
        f, consts = jax.closure_convert(lambda z: z * x + y.sum(), x)
        return f(x, *consts), len(consts)

    return J.value_and_grad(run, has_aux=True)(jnp.float32(0.7), Y)[1]


@CLOSURES()
def nondiff_argnums_that_close_over_data(J):
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def apply(f, x):
        return f(x)

    apply.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (3 * g * f(x),))
    return J.grad(lambda x, y: apply(lambda x: jnp.sin(x) * jnp.exp(y), x).sum())(X, Y)


@CLOSURES()
def nondiff_argnums_that_are_arrays(J):
    f = jvp_of(lambda c, x: c * x, lambda c, p, t: (c * p[0], 2 * c * t[0]), nondiff_argnums=(0,))
    return J.grad(lambda x, y: f(jnp.sin(y), x).sum())(X, Y)


@CLOSURES(raises=jax.errors.UnexpectedTracerError, right=lambda: jnp.sin(Y))
def nondiff_argnums_that_are_tracers(J):
    f = vjp_of(lambda c, x: c * x, lambda c, x: (c * x, None), lambda c, _, g: (c * g,), nondiff_argnums=(0,))
    return jax.jit(J.grad(lambda x, y: f(jnp.sin(y), x).sum()))(X, Y)


@CLOSURES()
def a_list_between_forward_and_backward(J):
    left = []

    def forward(x):
        left.append(jnp.cos(x))
        return jnp.sin(x), None

    return J.grad(vjp_of(jnp.sin, forward, lambda _, g: (g * left[-1],)))(0.7)


@CLOSURES()
def a_list_of_what_was_called(J):
    called = []

    def forward(x):
        called.append("forward")
        return jnp.sin(x), x

    def backward(x, g):
        called.append("backward")
        return (g * jnp.cos(x),)

    f = vjp_of(jnp.sin, forward, backward)
    return J.grad(lambda x: f(f(x)))(0.7), called


@CLOSURES()
def a_primal_that_is_not_called(J):
    called = []

    def primal(x):
        called.append("primal")
        return jnp.sin(x)

    f = vjp_of(primal, lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    return J.grad(lambda x, y: f(x) * f(y))(0.7, 0.3), called


@CLOSURES()
def what_the_rule_is_given(J):
    given = []

    def rule(primals, tangents):
        given.append((float(primals[0]), float(primals[1])))
        return primals[0] * primals[1], tangents[0] * primals[1]

    f = jvp_of(jnp.multiply, rule)
    return J.grad(lambda x, y: f(x, y + 1))(2.0, 3.0), given


@CLOSURES()
def what_data_the_forward_rule_is_given(J):
    given = []

    def forward(x, y):
        given.append(np.asarray(y))
        return x * y, y

    f = vjp_of(jnp.multiply, forward, lambda y, g: (g * y, None))
    return J.grad(lambda x, y: f(x, y + 1).sum())(X, Y), given


@CLOSURES()
def a_keyword_of_the_outer_function(J):
    return J.grad(lambda x, *, scale: closing_vjp(scale * 2)(x).sum())(X, scale=Y)


@CLOSURES()
def keywords_and_defaults_of_the_function(J):
    f = vjp_of(
        lambda x, y=2.0: x * y, lambda x, y=2.0: (x * y, (x, y)), lambda r, g: (3 * g * r[1], 5 * g * r[0])
    )
    return (
        J.grad(lambda x: f(x))(1.5),
        J.grad(lambda x: f(x, y=4.0))(1.5),
        J.grad(lambda y: f(x=1.5, y=y))(4.0),
    )


@CLOSURES()
def a_gradient_inside_a_backward_rule(J):
    def run(x, y):
        c = jnp.sin(y)
        f = vjp_of(
            lambda x: (c * x**2).sum(),
            lambda x: ((c * x**2).sum(), x),
            lambda x, g: (g * J.grad(lambda x: (c * x**2).sum())(x),),
        )
        return f(x)

    return J.grad(run)(X, Y)
