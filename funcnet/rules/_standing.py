"""Functions of JAX that have a derivative of JAX's own which stands, each with the reason.

The names are the places where they are defined, as in `funcnet.rules.functions.DEFINED`. JAX's rule is walked
there, with our rules of the primitives that it is made of.
"""

_LOG_DET = "tr(A⁻¹ dA), and NaN for singular A, where log |det A| is −∞"
_SERIES = "its Taylor series at 0, of which each derivative is another"
_OF_JAX = "the slope in JAX's own rule of {}, met only where that rule is differentiated; within {} ulp"
_NVIDIA = "a kernel of NVIDIA GPUs in cuDNN, which brings its backward pass"
_GPU = "a Pallas kernel of GPUs, with a kernel for its backward pass"
_TPU = "a Pallas kernel of TPUs, with a kernel for its backward pass"
_REFERENCE = "what the tests of a Pallas kernel of TPUs compare it with"

STANDING = {
    "ad_checkpoint.primal_left_tangent_right": "what jax.checkpoint kept, with its tangent",
    "lax.control_flow.solves._custom_root": "the implicit function theorem, by the user's own linear solver",
    "lax.erf.exp_neg_sq": _OF_JAX.format("erf", 2),
    "numpy.lax_numpy._i1_maclaurin": _SERIES,
    **dict.fromkeys([f"numpy.linalg._slogdet_{name}" for name in ("small", "lu", "qr")], _LOG_DET),
    "numpy.linalg._pinv": "Golub and Pereyra 1973, for a constant rank; equal singular values do no harm",
    "numpy.ufuncs._sinc_maclaurin": _SERIES,
    "scipy.special._erfcinv_grad": _OF_JAX.format("erfcinv", 6),
    "scipy.special._erfcx_grad": _OF_JAX.format("erfcx", 11) + ", and of one number alone",
    "scipy.special._ndtri_grad": _OF_JAX.format("ndtri", 5),
    "scipy.special._rel_entr": "as right as a difference of logarithms: its root is where log(x/y) = −1",
    "scipy.special.hyp1f1": "as right as the function, which JAX gives 19 times the truth at (3, 4, −17)",
    "scipy.special.hyp2f1": "as right as the function, which JAX gives as infinite below −1",
    "scipy.special.zeta": "−s ζ(s + 1, q) in q, as right as ζ, which is 0 below the normal numbers",
    "state.discharge._eval_jaxpr_ad_error": "an error: derivatives are taken before references are resolved",
    "cudnn.fused_attention_stablehlo._dot_product_attention": _NVIDIA,
    "cudnn.fused_attention_stablehlo._dot_product_attention_fp8": _NVIDIA,
    "cudnn.scaled_matmul_stablehlo.scaled_dot_general_fn": "a product of rounded blocks on NVIDIA GPUs; its"
    " gradient goes straight through the rounding",
    "experimental.rnn.lstm": _NVIDIA,
    "experimental.ode._odeint": "the adjoint equation (Chen et al. 2018), to the tolerances of its solver",
    "experimental.pallas.ops.gpu.attention.mha": _GPU,
    "experimental.pallas.ops.gpu.attention_mgpu.attention": _GPU,
    "experimental.pallas.ops.gpu.layer_norm.layer_norm": _GPU,
    "experimental.pallas.ops.gpu.rms_norm.rms_norm": _GPU,
    "experimental.pallas.ops.tpu.flash_attention._flash_attention": _TPU,
    "experimental.pallas.ops.tpu.flash_attention._mha_reference": _REFERENCE,
    "experimental.pallas.ops.tpu.megablox.gmm.gmm": _TPU,
    "experimental.pallas.ops.tpu.splash_attention.splash_attention_kernel._attention_reference": _REFERENCE,
    "experimental.pallas.ops.tpu.splash_attention.splash_attention_kernel._splash_attention_custom": _TPU,
}
