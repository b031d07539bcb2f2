"""Wrong labels: a share of the training samples is given another class than its own."""

import torch
from torch import Tensor

from groktimizer.tasks.streams import generator


def spoil(classes: Tensor, share: float, number: int, seed: int) -> Tensor:
    """Replace the classes of some samples, drawn without repetition, each by one of the others, all alike.

    Args:
        classes: Right ones, shape (n,), int64.
        share: Part of the samples, in [0, 1); rounded to whole samples.
        number: Number of classes, at least 2 if any label is to be wrong.
        seed: Seed of both draws.

    Returns:
        Shape (n,); the argument itself if no label is wrong.

    Example:
        >>> right = torch.zeros(100, dtype=torch.long)
        >>> int((spoil(right, 0.05, 3, seed=0) != right).sum())
        5
    """
    count = round(share * len(classes))
    if not count:
        return classes
    source = generator(seed, "wrong-labels")
    rows = torch.randperm(len(classes), generator=source)[:count].to(classes.device)
    shifts = torch.randint(1, number, (count,), generator=source).to(classes.device)
    spoilt = classes.clone()
    spoilt[rows] = (classes[rows] + shifts) % number
    return spoilt
