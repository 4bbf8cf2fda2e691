"""One step of a recurrent net with a gated cell.

Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins
2000): the cell c is a sum that gates let in and out.

    z = [x, h] w + b,  in four parts z_i, z_f, z_g, z_o
    c' = σ(z_f) c + σ(z_i) tanh z_g        h' = σ(z_o) tanh c'

On the way back, with ĉ = c̄' + h̄' σ(z_o) sech² c',

    z̄_i = ĉ tanh(z_g) σ'(z_i)    z̄_f = ĉ c σ'(z_f)    z̄_g = ĉ σ(z_i) sech² z_g    z̄_o = h̄' tanh(c') σ'(z_o)

and the cell gets ĉ σ(z_f): a product with a number near 1 where the gate is open, which does not vanish.
Kept are x, h, c, z and c'.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from funcnet._errors import ShapeError
from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate
from funcnet.nn.affine import affine, affine_backward
from funcnet.rules.exponentials import logistic_slope, sech2


@gate(
    formula="ĉ = c̄' + h̄' σ(z_o) sech² c',  c̄ = ĉ σ(z_f),  z̄ = (ĉ tanh(z_g) σ'(z_i), ĉ c σ'(z_f), "
    "ĉ σ(z_i) sech² z_g, h̄' tanh(c') σ'(z_o)),  [x̄, h̄] = z̄ wᵀ,  w̄ = [x, h]ᵀ z̄,  b̄ = Σ z̄;  ȳ = (h̄', c̄')",
    source="Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000",
)
def lstm_cell(
    x: Float[Array, "*batch inputs"],
    h: Float[Array, "*batch units"],
    c: Float[Array, "*batch units"],
    w: Float[Array, "inputs_and_units four_units"],
    b: Float[Array, " four_units"],
) -> tuple[Float[Array, "*batch units"], Float[Array, "*batch units"]]:
    """One step of long short-term memory: the next h and c.

    Args:
        x: the input of the step.
        h: what the cell has shown.
        c: what it holds.
        w: of x and then h to the four parts: input gate, forget gate, what is new, output gate.
        b: their biases; 1 for the forget gate keeps what is held in the first steps of training.

    Raises:
        ShapeError: w is not [inputs + units, 4 units], or the batches differ.

    >>> h, c = lstm_cell(jnp.ones(3), jnp.zeros(2), jnp.zeros(2), jnp.zeros((5, 8)), jnp.zeros(8))
    >>> h.shape, c.shape
    ((2,), (2,))
    """
    return _step(c, _parts(x, h, c, w, b))


@lstm_cell.forward
def lstm_cell_forward(x, h, c, w, b):
    z = _parts(x, h, c, w, b)
    h_next, c_next = _step(c, z)
    return (h_next, c_next), (x, h, c, w, z, c_next)


@lstm_cell.backward
def lstm_cell_backward(stash, bars):
    x, h, c, w, z, c_next = stash
    wide = lambda *arrays: map(at_least_float32, arrays)  # noqa: E731
    h_bar, c_bar = wide(*bars)
    held, c_next, z_i, z_f, z_g, z_o = wide(c, c_next, *jnp.split(z, 4, -1))
    c_bar = c_bar + h_bar * jax.nn.sigmoid(z_o) * sech2(c_next)
    z_bar = [
        c_bar * jnp.tanh(z_g) * logistic_slope(z_i),
        c_bar * held * logistic_slope(z_f),
        c_bar * jax.nn.sigmoid(z_i) * sech2(z_g),
        h_bar * jnp.tanh(c_next) * logistic_slope(z_o),
    ]
    z_bar = jnp.concatenate(z_bar, -1).astype(z.dtype)
    xh_bar, w_bar, b_bar = affine_backward((jnp.concatenate([x, h], -1), w), z_bar)
    x_bar, h_bar = jnp.split(xh_bar, [x.shape[-1]], -1)
    return x_bar, h_bar, (c_bar * jax.nn.sigmoid(z_f)).astype(c.dtype), w_bar, b_bar


def _parts(x: Array, h: Array, c: Array, w: Array, b: Array) -> Array:
    """z."""
    units = h.shape[-1] if h.ndim else 0
    if h.shape != c.shape or x.shape[:-1] != h.shape[:-1] or w.shape != (x.shape[-1] + units, 4 * units):
        raise ShapeError(
            f"lstm_cell: x, h and c have shapes {list(x.shape)}, {list(h.shape)} and {list(c.shape)}, w "
            f"{list(w.shape)}; expected [*batch, inputs], twice [*batch, units], and "
            f"[inputs + units, 4 units]"
        )
    return affine.primal(jnp.concatenate([x, h], -1), w, b)


def _step(c: Array, z: Array) -> tuple[Array, Array]:
    z_i, z_f, z_g, z_o = jnp.split(z, 4, -1)
    c_next = jax.nn.sigmoid(z_f) * c + jax.nn.sigmoid(z_i) * jnp.tanh(z_g)
    return jax.nn.sigmoid(z_o) * jnp.tanh(c_next), c_next
