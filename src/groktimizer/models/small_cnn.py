"""A small convolutional network with BatchNorm for small images."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, positive
from groktimizer.ground.errors import UserError
from groktimizer.models._init import Generator, linear, normal

KERNEL = 3


class SmallCNN(nn.Module):
    """Twice a 3 × 3 convolution, BatchNorm, ReLU and maximum over 2 × 2, then an affine layer.

    Filters are N(0, 2/fan-in) and have no biases, the affine layer is drawn as PyTorch does, all times `init_scale`.

    Args:
        side: Width and height of the images, at least 4.
        channels: Filters of the first layer; the second has twice as many.
        classes: Number of classes.
        init_scale: Factor on the initial parameters, positive; before a BatchNorm it changes no output.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If a size is not positive, the images are too small, or the scale is not positive.

    Example:
        >>> SmallCNN(8, 4, 10)(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        side: int,
        channels: int,
        classes: int,
        init_scale: float = 1.0,
        *,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(side=side, channels=channels, classes=classes)
        positive(init_scale=init_scale)
        if side < 4:
            raise UserError(f"side={side}: expected at least 4")
        self.side = side
        self.first, self.second = (
            normal(outputs, inputs, KERNEL, KERNEL, std=init_scale * (2 / (inputs * KERNEL**2)) ** 0.5,
                   generator=generator)
            for inputs, outputs in ((1, channels), (channels, 2 * channels))
        )  # fmt: skip
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in (channels, 2 * channels))
        self.output = linear(2 * channels * (side // 4) ** 2, classes, scale=init_scale, generator=generator)
        self.to(dtype)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, classes), of images whose rows stand one behind the other, shape (n, side²)."""
        maps = inputs.unflatten(-1, (1, self.side, self.side))
        for filters, norm in zip((self.first, self.second), self.norms, strict=True):
            maps = torch.relu(norm(nn.functional.conv2d(maps, filters, padding=KERNEL // 2)))
            maps = nn.functional.max_pool2d(maps, 2)
        return self.output(maps.flatten(1))
