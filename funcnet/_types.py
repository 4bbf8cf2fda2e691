"""Types that several packages share."""

from collections.abc import Callable

from jaxtyping import Array

Params = dict[str, dict[str, Array]]
"""A net's parameters: `{"layer1": {"w": …, "b": …}, "layer2": …}`, the layers in the order of use."""

Activation = Callable[[Array], Array]
"""An elementwise nonlinearity."""
