"""What keeps a network's answers: margins, distances to the boundary, and how many survive a perturbation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from groktimizer.ground.checks import not_negative, whole
from groktimizer.ground.errors import UserError

Array = NDArray[np.float64]


def margins(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute by how much the right class leads: z_y − max over c ≠ y of z_c.

    Args:
        logits: z, shape (n, classes), at least two classes.
        targets: y, shape (n,).

    Returns:
        Shape (n,); positive where the answer is right.

    Raises:
        UserError: If the shapes do not belong together, or there is one class.

    Example:
        >>> margins(torch.tensor([[3.0, 1.0, 0.5], [0.0, 2.0, 5.0]]), torch.tensor([0, 1])).tolist()
        [2.0, -3.0]
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or targets.shape != logits.shape[:1]:
        shapes = f"{tuple(logits.shape)}, {tuple(targets.shape)}"
        raise UserError(f"logits, targets: shapes {shapes}, expected (n, classes ≥ 2) and (n,)")
    others = logits.scatter(1, targets.unsqueeze(1), -torch.inf)
    return logits.gather(1, targets.unsqueeze(1)).squeeze(1) - others.amax(1)


def distances(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Compute how far, to first order, each input is from where its answer changes.

    For each class c ≠ y the lead m_c = z_y − z_c over its gradient in the input, m_c/‖∂m_c/∂x‖, and of these the
    least: exact for a linear classifier. It belongs to the function; rescaling does not move it.

    Args:
        model: From inputs to logits, one sample independent of the others.
        inputs: Shape (n, …), real.
        targets: y, shape (n,).

    Returns:
        Shape (n,), in the unit of the inputs (Euclidean norm); negative where the answer is wrong.

    Raises:
        UserError: If the inputs are not real numbers.

    Example:
        >>> line = nn.Linear(2, 2, bias=False)
        >>> _ = line.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        >>> distances(line, torch.tensor([[1.0, 0.5]]), torch.tensor([0])).tolist()  # (3 + 2) / ‖(3, 4)‖
        [1.0]
    """
    if not inputs.dtype.is_floating_point:
        raise UserError(f"inputs: {inputs.dtype}, expected real numbers (of symbols there is no distance)")
    values = {name: param.detach() for name, param in model.named_parameters()}

    def leads(one: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional_call(model, values, (one.unsqueeze(0),)).squeeze(0)
        lead = logits.gather(0, target.unsqueeze(0)) - logits
        return lead, lead

    with torch.no_grad():
        slopes, lead = vmap(jacrev(leads, has_aux=True))(inputs, targets)
        steep = slopes.flatten(2).norm(dim=2)
        ratio = (lead / steep).scatter(1, targets.unsqueeze(1), torch.inf)  # y itself: 0/0
    return ratio.amin(1)


def robustness(
    model: nn.Module,
    inputs: Tensor,
    scales: Sequence[float],
    *,
    table: str | None = None,
    draws: int = 10,
    seed: int = 0,
) -> Array:
    """Measure how many answers stay when inputs, or a table of embeddings, are moved at random.

    Each draw adds N(0, (σ r)²) to every entry, r the root mean square of the entries: of the inputs or, where those
    are symbols, of the table that embeds them. The idea is that of arXiv 2311.06597; the measure is ours. Scaling the
    table together with what undoes it does not move it.

    Args:
        model: From inputs to logits, shape (n, classes); it stays as it is.
        inputs: Shape (n, …).
        scales: σ, each ≥ 0.
        table: Name of the parameter that is moved, such as "embedding"; None moves the inputs.
        draws: Perturbations at each scale, at least 1.
        seed: Of the draws, which are the same at each scale up to σ.

    Returns:
        Shares of samples whose answer is what it was without perturbation, in [0, 1], shape (scales,).

    Raises:
        UserError: If a number is out of its range, there is no such parameter, or symbols would be moved.

    Example:
        >>> line = nn.Linear(1, 2, bias=False)
        >>> _ = line.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
        >>> robustness(line, torch.tensor([[1.0], [-1.0]]), [0.0, 1e-3, 1e6], draws=200).round(1).tolist()
        [1.0, 1.0, 0.5]
    """
    for place, scale in enumerate(scales):
        not_negative(**{f"scales[{place}]": scale})
    whole("draws", draws)
    values = {name: param.detach() for name, param in model.named_parameters()}
    if table is not None and table not in values:
        raise UserError(f"table={table!r}: expected a parameter of the network, one of {', '.join(values)}")
    moved = inputs if table is None else values[table]
    if not moved.dtype.is_floating_point:
        raise UserError(f"inputs: {inputs.dtype}, expected real numbers, or a table to be moved")
    size = moved.square().mean().sqrt()

    def answers(place: Tensor) -> Tensor:
        if table is None:
            return model(place).argmax(-1)
        return functional_call(model, values | {table: place}, (inputs,)).argmax(-1)

    kept = np.zeros((draws, len(scales)))
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        before = answers(moved)
        for draw in range(draws):
            noise = torch.randn(moved.shape, generator=source, dtype=moved.dtype).to(moved.device) * size
            kept[draw] = [float((answers(moved + scale * noise) == before).double().mean()) for scale in scales]
    return kept.mean(0)
