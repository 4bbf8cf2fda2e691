"""Discrete Fourier transforms.

Along an axis of length n, with ω = exp(−2πi/n):

    FFT      y[k] = Σⱼ x[j] · ωʲᵏ                IFFT     y[j] = 1/n Σₖ x[k] · ω⁻ʲᵏ
    RFFT     the FFT of a real x for k ≤ n/2     IRFFT    y[j] = 1/n Σₖ c[k] · Re(x[k] · ω⁻ʲᵏ)

The matrices of FFT and IFFT are symmetric, so each is its own transpose. The real transforms leave out
the half of the spectrum that mirrors the other: c[k] = 2 for a k with a mirror image n − k ≠ k, and
c[k] = 1 for k = 0 and, where n is even, for k = n/2. What the transpose of one weighs once the other
weighs c times, so each is the transpose of the other with c put right:

    RFFT     x̄[j] = Re Σₖ ȳ[k] · ωʲᵏ = n · IRFFT(conj(ȳ) / c)
    IRFFT    x̄[k] = c[k]/n Σⱼ ȳ[j] · ω⁻ʲᵏ = c/n · conj(RFFT(ȳ))

Over several axes the transforms follow one another, n is the product of the lengths, and the last axis
is the halved one.
"""

import math
from typing import Any

from jax import lax

from funcnet.rules._table import rule


@rule(
    "fft",
    formula="FFT: x̄ = FFT(ȳ);  IFFT: x̄ = IFFT(ȳ);  "
    "RFFT: x̄ = n · IRFFT(conj(ȳ)/c);  IRFFT: x̄ = c/n · conj(RFFT(ȳ))",
    source="Briggs and Henson 1995, The DFT, chapters 2 and 4",
)
def fft(y_bar, y, x, *, fft_type, fft_lengths):
    def transform(z, kind):
        return lax.fft_p.bind(z, fft_type=kind, fft_lengths=fft_lengths)

    n = float(math.prod(fft_lengths))
    if fft_type == lax.FftType.RFFT:
        return (transform(_weighted_conj(y_bar, fft_lengths[-1], n, n / 2), lax.FftType.IRFFT),)
    if fft_type == lax.FftType.IRFFT:
        return (_weighted_conj(transform(y_bar, lax.FftType.RFFT), fft_lengths[-1], 1 / n, 2 / n),)
    return (transform(y_bar, fft_type),)


def _weighted_conj(half: Any, length: int, alone: float, mirrored: float) -> Any:
    """The conjugate of half a spectrum, weighted by whether it leaves a mirror image out."""
    re, im = lax.real(half), lax.imag(half)
    pairs = (length - 1) // 2
    weight = lax.full((pairs,), mirrored, re.dtype)
    weight = lax.pad(weight, lax.full((), alone, re.dtype), [(1, length // 2 - pairs, 0)])
    weight = lax.expand_dims(weight, range(half.ndim - 1))
    return lax.complex(re * weight, -im * weight)
