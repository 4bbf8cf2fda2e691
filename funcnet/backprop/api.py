"""grad, value_and_grad, vjp, jacobian, hessian."""
import functools
from funcnet.backprop import calls
from funcnet.backprop.sweep import Engine
from funcnet.rules import RULES
import jax
from funcnet import _jax
import jax.numpy as jnp
CALLS = {"jit": calls.jit}
@functools.lru_cache(maxsize=32)
def engine(rules): return Engine(rules, CALLS)

def vjp(f,*xs, rules=RULES):
    closed, shape = jax.make_jaxpr(f,return_shape=True)(*xs)
    jaxpr,consts=_jax.open_jaxpr(closed)
    leaves,tree=jax.tree.flatten(xs)
    p = Engine.plan.__wrapped__(engine(rules),jaxpr,tuple(jnp.issubdtype(v.aval.dtype,jnp.inexact) for v in jaxpr.invars),tuple(jnp.issubdtype(v.aval.dtype,jnp.inexact) for v in jaxpr.outvars))
    ys,st=p.forward(consts,leaves)
    def back(y_bar):
        b = p.backward(st,jax.tree.leaves(y_bar))
        return jax.tree.unflatten(tree,[jnp.zeros_like(x) if b is None else b for b,x in zip(b,leaves)])
    return jax.tree.unflatten(jax.tree.structure(shape),ys), back
def value_and_grad(f,rules=RULES):
    def vg(*xs):
        y,b=vjp(f,*xs,rules=rules)
        return y,b(jnp.ones_like(y))[0]
    return vg
def grad(f,rules=RULES): return lambda *xs: value_and_grad(f,rules)(*xs)[1]
