"""What a table of embeddings is made of: how few directions, and on the numbers mod p how few frequencies."""

import math

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError

FEWEST = 3  # symbols that have a frequency with two phases


def spectral_entropy(matrix: Tensor) -> float:
    """Compute the entropy of a matrix's singular values, −Σ q_k ln q_k with q_k = s_k²/Σ s², over its largest value.

    exp of the entropy itself is the number of directions that the matrix uses.

    Args:
        matrix: Shape (rows, columns), at least 2 × 2, not zero.

    Returns:
        In [0, 1]: 0 for rank one, 1 where all singular values are equal.

    Raises:
        UserError: If it is no such matrix.

    Example:
        >>> round(spectral_entropy(torch.eye(4)), 6), spectral_entropy(torch.ones(4, 4)) < 1e-6
        (1.0, True)
    """
    checked = _matrix(matrix, 2)
    shares = torch.linalg.svdvals(checked).square()
    shares = shares / shares.sum()
    return float(torch.special.entr(shares).sum()) / math.log(len(shares))


def fourier_concentration(table: Tensor) -> float:
    """Compute how much of a table over Z_p each of its columns has in one frequency.

    With Ê_k the discrete Fourier transform down the columns, over the symbols 0 … p − 1, and P_kc = |Ê_kc|² for the
    frequencies k = 1 … ⌊p/2⌋ (the mean, k = 0, does not count): Σ_c max_k P_kc / Σ_c Σ_k P_kc. A random table of
    prime p has about (1 + 1/2 + … + 1/K)/K, K = (p − 1)/2.

    Args:
        table: One row a symbol, shape (p, width), p ≥ 3; columns not all constant.

    Returns:
        In (0, 1]: 1 where each column is one sinusoid.

    Raises:
        UserError: If it is no such table.

    Example:
        >>> turn = 2 * math.pi * torch.arange(7)[:, None] / 7
        >>> round(fourier_concentration(torch.cat([torch.cos(2 * turn), 5 + torch.sin(3 * turn)], 1)), 6)
        1.0
    """
    checked = _matrix(table, FEWEST)
    power = torch.fft.rfft(checked - checked.mean(0), dim=0)[1:].abs().square()
    if not float(power.sum()) > 0.0:
        raise UserError("table: every column is constant, expected one that is not")
    return float(power.amax(0).sum() / power.sum())


def _matrix(values: Tensor, fewest: int) -> Tensor:
    good = values.ndim == 2 and values.shape[0] >= fewest and values.shape[1] >= min(fewest, 2)
    if not (good and bool(torch.isfinite(values).all()) and bool(values.any())):
        told = f"shape {tuple(values.shape)}"
        raise UserError(f"matrix: {told}, expected at least {fewest} rows and 2 columns, finite and not all 0")
    return values.detach().double()
