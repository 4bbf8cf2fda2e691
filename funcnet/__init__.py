"""funcnet: neural networks and backpropagation in JAX, with hand-written gradients.

The public names are loaded when they are first used (PEP 562), so `import funcnet` costs almost
nothing and the command line answers `--help` at once:

    funcnet.nn       gates, losses, regularizers and the nets made of them
    funcnet.data     real and toy data sets behind one specification string
    funcnet.train    jitted training, checkpoints, finished runs
    funcnet.gate     the decorator that makes a function with a backward pass of its own
    funcnet.grad     reverse mode over any JAX function, by the rules in funcnet.RULES
    funcnet.check_vjp    is this gradient right? in float64, and in the dtypes that people use
    funcnet.draw     the graph of a function with every value and every gradient; explain says it in words
    funcnet.lecture  the worked examples of the lecture with their printed numbers
    funcnet.stash    what backpropagation keeps of the forward pass: for which rule, how many bytes, and why
    funcnet.find_nonfinite    which gate makes the first infinity or NaN, forward or on the way back
"""

from typing import TYPE_CHECKING

from funcnet._lazy import lazy

__all__ = [
    "JAX_KINKS",
    "RULES",
    "STRONG_ZERO",
    "Picture",
    "Report",
    "VJPCheckError",
    "check_contract",
    "check_gradient",
    "check_jvp",
    "check_kink",
    "check_linear",
    "check_vjp",
    "data",
    "draw",
    "drawing",
    "explain",
    "find_nonfinite",
    "gate",
    "grad",
    "hessian",
    "jacobian",
    "jacobian_structure",
    "lecture",
    "nn",
    "numerical_gradient",
    "numerical_vjp",
    "rule",
    "stash",
    "structure",
    "trace",
    "train",
    "value_and_grad",
    "vjp",
]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from funcnet import data, drawing, lecture, nn, structure, train
    from funcnet._errors import VJPCheckError
    from funcnet.backprop import grad, hessian, jacobian, trace, value_and_grad, vjp
    from funcnet.check import (
        Report,
        check_contract,
        check_gradient,
        check_jvp,
        check_kink,
        check_linear,
        check_vjp,
    )
    from funcnet.drawing import Picture, draw, explain
    from funcnet.kept import stash
    from funcnet.nn._gate import gate
    from funcnet.nonfinite import find_nonfinite
    from funcnet.numerical import numerical_gradient, numerical_vjp
    from funcnet.rules import JAX_KINKS, RULES, STRONG_ZERO, rule
    from funcnet.structure import jacobian_structure
else:
    __getattr__, __dir__ = lazy(
        __name__,
        __all__,
        {
            "_errors": ["VJPCheckError"],
            "backprop": ["grad", "hessian", "jacobian", "trace", "value_and_grad", "vjp"],
            "check": [
                "Report",
                "check_contract",
                "check_gradient",
                "check_jvp",
                "check_kink",
                "check_linear",
                "check_vjp",
            ],
            "drawing": ["Picture", "draw", "explain"],
            "kept": ["stash"],
            "nn._gate": ["gate"],
            "nonfinite": ["find_nonfinite"],
            "numerical": ["numerical_gradient", "numerical_vjp"],
            "rules": ["JAX_KINKS", "RULES", "STRONG_ZERO", "rule"],
            "structure": ["jacobian_structure"],
        },
    )
