"""Types that several packages share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Array

Params = dict[str, dict[str, Array]]
"""A net's parameters: `{"layer1": {"w": …, "b": …}, "layer2": …}`, the layers in the order of use."""

Activation = Callable[[Array], Array]
"""An elementwise nonlinearity."""

if TYPE_CHECKING:
    Host: TypeAlias = np.ndarray
else:
    Host = np.ndarray | np.generic
    """An array in numpy's hands, which makes a scalar of its own of one without axes."""
