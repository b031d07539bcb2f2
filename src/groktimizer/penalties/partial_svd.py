"""The singular triplets of a large matrix above a threshold, with a bound on what is missed."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

FIRST_RANK = 32
MOST_ROUNDS = 24  # each one multiplication by A'A
LARGEST_PART = 3  # above a third of the full rank the exact factorisation is cheaper
LANCZOS_STEPS = 30
LANCZOS_FAILURE = 1e-6


class Triplets(NamedTuple):
    """Singular triplets above a threshold.

    Args:
        left: U, shape (m, r).
        values: S, shape (r,), descending.
        right: V, shape (n, r).
        error: Bound on the Frobenius error of ``U (S - threshold) V'`` as the proximal map of the nuclear norm.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    error: float


def thin_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """SVD of a matrix with few rows through its Gram matrix in float64.

    Args:
        matrix: B, shape (k, n), k <= n.

    Returns:
        U (k, k), S (k,) descending and V (n, k) with ``U'B = S V'`` to rounding; V's columns are 0 where S is.
    """
    wide = matrix.double()
    squares, left = torch.linalg.eigh(wide @ wide.T)
    values, left = squares.flip(-1).clamp(min=0).sqrt(), left.flip(-1)
    projected = left.T @ wide
    safe = torch.where(values > 0, values, 1.0)
    right = torch.where(values > 0, 1.0, 0.0)[:, None] * projected / safe[:, None]
    return left.to(matrix.dtype), values.to(matrix.dtype), right.T.to(matrix.dtype)


def spectral_bound(matrix: Tensor, left: Tensor, right: Tensor, generator: torch.Generator) -> float:
    """Upper bound on ``||(I - U U') A (I - V V')||_2``, wrong with probability `LANCZOS_FAILURE` at most.

    Golub-Kahan steps from a random start give a lower bound s; by Kuczynski and Wozniakowski (1992, Theorem 4.2) the
    square of the norm exceeds ``s^2 / (1 - e)`` with probability at most ``1.648 sqrt(n) exp(-sqrt(e) (2k - 1))``.

    Args:
        matrix: A, shape (m, n).
        left: U, shape (m, r), orthonormal columns.
        right: V, shape (n, r), orthonormal columns.
        generator: Source of the random start, on the CPU.

    Returns:
        The bound.
    """

    def across(basis: Tensor, vector: Tensor) -> Tensor:
        return vector - basis @ (basis.T @ vector)

    width = matrix.shape[1]
    start = torch.randn(width, generator=generator, dtype=torch.float64).to(matrix.device, matrix.dtype)
    direction = across(right, start)
    direction = direction / direction.norm()
    other, beta = torch.zeros_like(matrix[:, 0]), 0.0
    alphas: list[float] = []
    betas: list[float] = []
    for _ in range(min(LANCZOS_STEPS, *matrix.shape)):
        other = across(left, matrix @ across(right, direction)) - beta * other
        alpha = float(other.norm())
        alphas.append(alpha)
        if alpha == 0:
            break
        other = other / alpha
        direction = across(right, matrix.T @ across(left, other)) - alpha * direction
        beta = float(direction.norm())
        betas.append(beta)
        if beta <= 1e-7 * alphas[0]:
            break
        direction = direction / beta
    k = len(alphas)
    bidiagonal = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    for i in range(k - 1):
        bidiagonal[i, i + 1] = betas[i]
    root = math.log(1.648 * math.sqrt(width) / LANCZOS_FAILURE) / (2 * LANCZOS_STEPS - 1)
    return float(torch.linalg.matrix_norm(bidiagonal, 2)) / math.sqrt(1 - root**2)


def above(matrix: Tensor, threshold: float, tolerance: float) -> Triplets | None:
    """Find the singular triplets above a threshold by subspace iteration with a growing rank.

    With ``U'A = S V'`` exactly, U the r leading of the vectors found and ``R = (I - U U') A (I - V V')``, the matrix
    ``A - (A V - U S) V'`` is ``U S V' + R``; if ``||R||_2 <= threshold`` its proximal map is ``U (S - threshold) V'``.
    The proximal map is nonexpansive, so that is the map of A within ``||A V - U S||_F``. If the bound b on ``||R||_2``
    is larger, at most ``||R||_F^2 / threshold^2`` singular values of R are above the threshold, and the error grows by
    ``(b - threshold) ||R||_F / threshold`` at most.

    Args:
        matrix: A, shape (m, n), float32 or float64.
        threshold: Threshold > 0.
        tolerance: Largest error accepted, relative to the Frobenius norm of the map.

    Returns:
        The triplets; None if the rank needed is above a third of the full one, or the error stays above the tolerance.
    """
    m, n = matrix.shape
    source = torch.Generator().manual_seed(m * 1_000_003 + n)
    most = min(m, n) // LARGEST_PART
    if most == 0:
        return None

    def noise(columns: int) -> Tensor:
        return matrix @ torch.randn(n, columns, generator=source, dtype=torch.float64).to(matrix.device, matrix.dtype)

    total = float(torch.linalg.vector_norm(matrix))
    span = torch.linalg.qr(noise(min(FIRST_RANK, most)))[0]
    former = math.inf
    for _ in range(MOST_ROUNDS):
        span = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ span)[0])[0]
        rotation, values, right = thin_svd(span.T @ matrix)
        if float(values[-1]) > threshold:
            if span.shape[1] == most:
                return None
            span = torch.linalg.qr(torch.cat((span, noise(min(span.shape[1], most - span.shape[1]))), 1))[0]
            continue
        rank = int((values > threshold).sum())
        left, kept, right = (span @ rotation)[:, :rank], values[:rank], right[:, :rank]
        missed = float(torch.linalg.vector_norm(matrix @ right - left * kept))
        allowed = tolerance * float(torch.linalg.vector_norm(kept - threshold))
        if missed <= allowed:
            bound = spectral_bound(matrix, left, right, source)
            rest = math.sqrt(max(total**2 - float(kept.square().sum()) - missed**2, 0.0))
            error = missed + max(bound - threshold, 0.0) * rest / threshold
            if error <= allowed:
                return Triplets(left, kept, right, error)
        if missed > 0.9 * former:
            return None
        former = missed
    return None
