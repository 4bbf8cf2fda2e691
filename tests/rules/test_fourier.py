"""The rule of Fourier transforms, row by row."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from tests.rules.rows import Row, check, check_low_precision, each

FFT, IFFT, RFFT, IRFFT = lax.FftType


def real(*shape):
    return lambda rng: (rng.normal(size=shape),)


def complex_(*shape):
    return lambda rng: (rng.normal(size=shape) + 1j * rng.normal(size=shape),)


def transform(kind, *lengths):
    return lambda x: lax.fft(x, kind, lengths)


ROWS = [
    Row("fft", transform(FFT, 5), complex_(5), name="FFT"),
    Row("fft", transform(FFT, 4, 3), complex_(2, 4, 3), name="FFT of two axes of three"),
    Row("fft", lambda x: transform(IFFT, 2, 3, 2)(x * x), complex_(2, 3, 2), name="IFFT of three axes"),
    Row("fft", transform(RFFT, 6), real(2, 6), name="RFFT, even"),
    Row("fft", transform(RFFT, 5), real(2, 5), name="RFFT, odd"),
    Row("fft", transform(RFFT, 4, 3, 6), real(4, 3, 6), name="RFFT of three axes"),
    Row("fft", transform(RFFT, 1), real(2, 1), name="RFFT of one number"),
    Row("fft", transform(RFFT, 2), real(2), name="RFFT of two numbers"),
    Row("fft", transform(IRFFT, 6), complex_(2, 4), name="IRFFT, even"),
    Row("fft", transform(IRFFT, 5), complex_(2, 3), name="IRFFT, odd"),
    Row("fft", transform(IRFFT, 4, 3, 6), complex_(4, 3, 4), name="IRFFT of three axes"),
    Row("fft", transform(IRFFT, 1), complex_(2, 1), name="IRFFT to one number"),
    Row("fft", lambda x: transform(RFFT, 6)(x) ** 2, real(6), name="RFFT, squared"),
    Row("fft", lambda x: transform(IRFFT, 6)(x) ** 2, complex_(4), name="IRFFT, squared"),
    Row("fft", transform(RFFT, 4), real(0, 4), name="RFFT of nothing"),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
def test_single_precision():
    check_low_precision(Row("fft", transform(RFFT, 8), real(8)), jnp.float32)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("n", [7, 8])
def test_gradient_of_rfft_is_the_transposed_matrix(n):
    """x̄ = Re(Fᵀ ȳ) with the matrix F of RFFT written out."""
    k, j = np.arange(n // 2 + 1)[:, None], np.arange(n)
    matrix = np.exp(-2j * np.pi * j * k / n)
    y_bar = np.random.default_rng(0).normal(size=(n // 2 + 1, 2)) @ [1, 1j]
    (x_bar,) = funcnet.vjp(jnp.fft.rfft, jnp.zeros(n))[1](jnp.asarray(y_bar))
    np.testing.assert_allclose(x_bar, np.real(matrix.T @ y_bar), atol=1e-12)
