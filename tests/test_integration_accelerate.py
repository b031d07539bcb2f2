"""accelerate's wrapper needs one line, `observe`; with its scaler the run is that of a scaler by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from groktimizer import GROKtimizer, param_groups
from same_run import assert_same_run  # before accelerate: it sets Hugging Face packages offline

STEPS = 60


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, 20, generator=generator), torch.randint(4, (16,), generator=generator)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 4))


def scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=2.0**20)  # too large at first: infinite gradients in float16


def half_loss(model: nn.Module) -> Tensor:
    inputs, targets = data()
    with torch.autocast("cpu", torch.float16):
        return cross_entropy(model(inputs), targets)


def by_hand() -> tuple[GROKtimizer, int]:
    """Steps with a GradScaler; also how many it skipped, at which nothing may move."""
    model = network()
    opt, scale, skipped = GROKtimizer(param_groups(model), interpolation=0.3), scaler(), 0
    for _ in range(STEPS):
        opt.zero_grad()
        loss = half_loss(model)
        scale.scale(loss).backward()
        opt.observe(loss)
        finite = all(bool(param.grad.isfinite().all()) for param in model.parameters() if param.grad is not None)
        before = [param.detach().clone() for param in model.parameters()]
        scale.step(opt)
        assert finite or all(map(torch.equal, before, model.parameters()))
        skipped += not finite
        scale.update()
    return opt, skipped


def test_a_skipped_step_moves_nothing_and_does_not_count():
    opt, skipped = by_hand()
    assert 0 < skipped < 10
    assert opt.state_dict()["param_groups"][0]["control"]["steps"] == STEPS - skipped
    assert opt.phase == 2


def test_accelerates_wrapper_with_a_scaler_is_the_scaler_by_hand():
    """mixed_precision="fp16" gives it the scaler; accelerate allows that on devices only, its wrapper on a CPU too."""
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer

    Accelerator(cpu=True)
    model, scale = network(), scaler()
    opt: Any = AcceleratedOptimizer(GROKtimizer(param_groups(model), interpolation=0.3), scaler=scale)
    skipped = 0
    for _ in range(STEPS):
        loss = half_loss(model)
        scale.scale(loss).backward()
        opt.optimizer.observe(loss)
        opt.step()
        skipped += opt.step_was_skipped
        opt.zero_grad()
    wanted, expected = by_hand()
    assert skipped == expected
    assert_same_run(opt.optimizer, wanted, tolerance=0.0)


def test_the_wrapper_itself_has_no_observe():
    """So that the page's line is needed; if a version passes it on, the page can say so."""
    from accelerate.optimizer import AcceleratedOptimizer

    with pytest.raises(AttributeError):
        AcceleratedOptimizer.observe  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]
