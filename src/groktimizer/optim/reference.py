"""The slow twin: GROKtimizer line by line as the formulas have it, in float64, one tensor after the other.

It shares the scalar rules (detector, constraint, guard) with the optimizer and repeats all the rest plainly, its
untuned numbers too: no kernels, no `torch.optim`, no in-place arithmetic. `GROKtimizer` in float64 must equal it for
ever.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.optim import constraint, guard, noise, switch
from groktimizer.optim.constraint import Rule
from groktimizer.optim.control import Control
from groktimizer.optim.detector import LossBelow
from groktimizer.penalties import L2, Penalty

PHASE_ONE_LR, LR, DECAY = 1.2e-2, 4e-3, 2.0  # untuned, adaptive
PROBES, AGAIN, BETWEEN, REACH = 20, 3, 20, 1e-3  # of the curvature, in the finish
HOLDS, SLACK = 0.1, 0.5  # in the finish: distance of the loss from the level, and factor of the damping ratio there
RULES = {
    "adaptive": Rule(
        start=1.0,
        smoothing=0.9,
        ring=2.0,
        hold=6.0,
        decay_gain=0.02,
        growth=0.0,
        pace=0.0,
        late_gain=0.04,
        lr_gain=0.05,
        cooling=8.0,
        noisy_cooling=2.0,
        keep_every=20,
        far=25.0,
        share=0.5,
        patience=20,
        astray=1.0,
        lost=100,
        dead=0.01,
        retreat=0.5,
        inherits=True,
    ),
    "euclidean": Rule(
        start=1e-4,
        smoothing=0.9,
        ring=2.0,
        hold=0.0,
        decay_gain=0.05,
        growth=0.05,
        pace=0.1,
        late_gain=0.0,
        lr_gain=0.0,
        cooling=math.inf,
        noisy_cooling=math.inf,
        keep_every=20,
        far=25.0,
        share=0.5,
        patience=20,
        astray=4.0,
        lost=300,
        dead=math.inf,
        retreat=0.5,
        inherits=False,
    ),
}


class Reference:
    """Phase 1 by Adam, switch by `LossBelow`, phase 2 by critically damped momentum.

    Args:
        theta: Starting tensors; copied to float64.
        lr: Step size eta of phase 2; None is the adaptive metric's default.
        weight_decay: lambda of phase 2; None is the adaptive metric's default, under the constraint.
        metric: ``"adaptive"`` or ``"euclidean"`` (then both lr and weight_decay are needed).
        damping: Damping ratio zeta.
        level: Interpolation level; None is 2 % of the first loss, inf begins in phase 2.
        penalty: The complexity; None is L2, others need weight_decay and take proximal steps.

    Raises:
        UserError: If the Euclidean metric is asked for without lr and weight_decay, another penalty without
            weight_decay.
    """

    def __init__(
        self,
        theta: Sequence[Tensor],
        lr: float | None = None,
        weight_decay: float | None = None,
        *,
        metric: str = "adaptive",
        damping: float = 1.0,
        level: float | None = None,
        penalty: Penalty | None = None,
    ) -> None:
        self.penalty = None if isinstance(penalty, L2) else penalty
        self.age = 1
        if self.penalty is not None and weight_decay is None:
            raise UserError(f"penalty={penalty!r}: the reference accepts it with weight_decay only")
        if metric == "euclidean" and (lr is None or weight_decay is None):
            raise UserError("metric='euclidean': the reference accepts it with lr and weight_decay only")
        self.theta = [tensor.detach().to(torch.float64).clone() for tensor in theta]
        self.metric, self.damping, self.lr_given, self.decay_given = (
            metric,
            damping,
            lr is not None,
            weight_decay is not None,
        )
        self.lr = LR if lr is None else lr
        self.weight_decay = DECAY if weight_decay is None else weight_decay
        self.detector = None if level == math.inf else LossBelow(level, fraction=0.02, smoothing=0.5, patience=2)
        self.phase = 2 if self.detector is None else 1
        self.rule = RULES[metric]
        self.numbers = Control(metric, decay_scale=self.rule.start)
        self.first = [torch.zeros_like(t) for t in self.theta]
        self.second = [torch.zeros_like(t) for t in self.theta]
        self.velocity = [torch.zeros_like(t) for t in self.theta]
        self.snapshot: list[Tensor] | None = None
        self.first_loss: float | None = None
        self.count = 0
        self.scale = [_scale(tensor) for tensor in self.theta]
        if metric == "euclidean" or self.lr_given:
            self.scale = [1.0] * len(self.theta)
        self.finishes = metric == "adaptive" and penalty is None and lr is None and weight_decay is None
        self.since, self.probes, self.reach = 0, 0, 0.0
        self.heading: list[Tensor] = []
        self.full: list[Tensor] = []
        self.before: list[Tensor] = []

    def step(self, loss: float, grads: Sequence[Tensor]) -> None:
        """One step from the training loss and its gradient at ``self.theta``.

        Args:
            loss: Training loss.
            grads: Its gradients.
        """
        if self.full:
            self.theta, self.full = self.full, []
            switch.take_in_empty(self.numbers, [loss])
            assert self.detector is not None
            self.detector.empty = self.numbers.detector.get("empty")
            self.first_loss = self.numbers.first_loss
            return
        if self.numbers.inflated and switch.deflates(self.numbers, [loss]):
            self.theta = [tensor / 2.0 for tensor in self.theta]
            self.first, self.second = ([torch.zeros_like(tensor) for tensor in self.theta] for _ in range(2))
            self.count, self.scale = 0, [_scale(tensor) for tensor in self.theta]
            assert self.detector is not None
            self.detector = LossBelow(fraction=0.02, smoothing=0.5, patience=2)
            self.detector.empty = self.first_loss
            return
        self.numbers.remember(loss)
        first = self.detector is not None and self.detector.absolute is None and self.first_loss is None
        shrunk = -sum(float((t * g).sum()) for t, g in zip(self.theta, grads, strict=True))
        inflated = first and switch.inflated(self.numbers, [loss], shrunk, _length(self.theta) ** 2)
        start = [tensor.clone() for tensor in self.theta]
        action = self._decide(loss, grads)
        if self.phase == 1:
            self._adam(grads)
        elif action is guard.Action.ROLL_BACK and self.snapshot is not None:
            self.theta = [tensor.clone() for tensor in self.snapshot]
            self.velocity = [torch.zeros_like(tensor) for tensor in self.theta]
            self.second = [torch.zeros_like(tensor) for tensor in self.theta]
            self.count, self.age, self.probes, self.heading = 0, 1, 0, []
        else:
            if action is guard.Action.KEEP:
                self.snapshot = [tensor.clone() for tensor in self.theta]
            self._shrink(grads)
        if inflated:
            self.full, self.theta = start, [torch.zeros_like(tensor) for tensor in self.theta]

    def _decide(self, loss: float, grads: Sequence[Tensor]) -> guard.Action:
        self.since += 1
        self.numbers.steps += 1
        self.first_loss = loss if self.first_loss is None else self.first_loss
        if self.detector is None:
            return guard.Action.CONTINUE
        if self.phase == 1:
            constraint.anneal(self.numbers, loss)
            reached = self.detector.update(loss)
            self.numbers.detector = self.detector.state_dict()
            if not reached:
                return guard.Action.CONTINUE
            self.phase, self.since = 2, 0
            self.numbers.switch_step = self.numbers.steps - 1
            constraint.enter(self.numbers, self.rule)
        level = switch.level(self.detector, self.numbers, loss, needed=True)
        lr, decay = self._lr(), self._pace()
        if self.numbers.finish_step < 0 or self.numbers.curvature > 0.0:
            constraint.constrain(self.numbers, loss, level, math.sqrt(lr * decay), self.rule, cap=0.25 / lr)
        if self.finishes and self.numbers.returned and not noise.noisy(self.numbers.noise):
            self._finish(grads)
        return guard.watch(self.numbers, loss, level, self.first_loss, self.rule)

    def _finish(self, grads: Sequence[Tensor]) -> None:
        """Go on in the Euclidean metric, from rest, with the step that the curvature allows."""
        self.finishes, self.metric, self.rule, self.lr = False, "euclidean", RULES["euclidean"], 1.0
        along = -sum(float((t * g).sum()) for t, g in zip(self.theta, grads, strict=True))
        constraint.finish(self.numbers, self.rule, along / _length(self.theta) ** 2 / self.weight_decay)
        self.velocity = [torch.zeros_like(tensor) for tensor in self.theta]
        self.scale = [1.0] * len(self.theta)

    def _probe(self, grads: Sequence[Tensor]) -> bool:
        """Power iteration by short steps: whether this step went into it."""
        numbers = self.numbers
        first = math.isnan(numbers.curvature)
        if self.probes:
            self.theta = [t - self.reach * v for t, v in zip(self.theta, self.heading, strict=True)]
            self.heading = [(g - b) / self.reach for g, b in zip(grads, self.before, strict=True)]
            size = _length(self.heading)
            self.probes -= 1
            if not self.probes:
                numbers.calibrated = 1.0 / size if first else min(1.0 / size, 1.3 * numbers.calibrated)
                numbers.curvature = size
                return True
        elif first or self.since % BETWEEN == 0:
            self.heading = list(grads) if first or not self.heading else self.heading
            self.before, self.probes = list(grads), PROBES if first else AGAIN
            self.reach, size = REACH * _length(self.theta), _length(self.heading)
        else:
            return False
        self.heading = [v / size for v in self.heading]
        self.theta = [t + self.reach * v for t, v in zip(self.theta, self.heading, strict=True)]
        return True

    def _lr(self) -> float:
        found = self.numbers.lr_scale * self.numbers.calibrated
        return self.lr * self.numbers.lr_retreat * (1.0 if self.lr_given else found)

    def _decay(self) -> float:
        return self.weight_decay * self.numbers.decay_retreat * (1.0 if self.decay_given else self.numbers.decay_scale)

    def _adam(self, grads: Sequence[Tensor]) -> None:
        self.count += 1
        for i, grad in enumerate(grads):
            self.first[i] = 0.9 * self.first[i] + 0.1 * grad
            self.second[i] = 0.98 * self.second[i] + 0.02 * grad**2
            mean = self.first[i] / (1.0 - 0.9**self.count)
            size = torch.sqrt(self.second[i] / (1.0 - 0.98**self.count)) + 1e-8
            lr = PHASE_ONE_LR * self.scale[i] * self.numbers.anneal_scale
            self.theta[i] = self.theta[i] - lr * mean / size

    def _pace(self) -> float:
        if self.penalty is None:
            return self._decay()
        return (DECAY if self.metric == "adaptive" else 1.0) * self.numbers.decay_retreat

    def _shrink(self, grads: Sequence[Tensor]) -> None:
        if self.numbers.finish_step >= 0 and self._probe(grads):
            return
        self.count += 1
        lr, decay, turn = self._lr(), self._decay(), 0.0
        numbers = self.numbers
        at_level = numbers.finish_step >= 0 and abs(numbers.mean / numbers.level - 1.0) < HOLDS
        damping = self.damping * (SLACK if at_level else 1.0)
        for i, grad in enumerate(grads):
            eta = lr * self.scale[i]
            force, size = grad, None
            if self.metric == "adaptive":
                self.second[i] = 0.98 * self.second[i] + 0.02 * grad**2
                size = torch.sqrt(self.second[i] / (1.0 - 0.98**self.count)) + 1e-8
                force = torch.clamp(grad / size, -1.0, 1.0)
            if self.penalty is None:
                momentum = max(0.0, 1.0 - damping * math.sqrt(eta * decay)) ** 2
                self.velocity[i] = momentum * self.velocity[i] + force + decay * self.theta[i]
                self.theta[i] = self.theta[i] - eta * self.velocity[i]
                continue
            critical = max(0.0, 1.0 - self.damping * math.sqrt(lr * DECAY)) ** 2
            momentum = critical if size is not None else (self.age - 1) / (self.age + 2)
            ahead = self.theta[i] - eta * momentum * self.velocity[i]
            width: float | Tensor = eta * decay
            if size is not None and self.penalty.separable:
                width = eta * decay / size
            moved = self.penalty.prox(ahead - eta * force, width)
            self.velocity[i] = (self.theta[i] - moved) / eta
            turn += float(((ahead - moved) * (moved - self.theta[i])).sum())
            self.theta[i] = moved
        if turn > 0.0:
            self.velocity = [torch.zeros_like(tensor) for tensor in self.theta]
            self.age = 0
        self.age += 1


def _length(tensors: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.square().sum()) for tensor in tensors))


def _scale(tensor: Tensor) -> float:
    deviation = float(tensor.std(correction=0))
    if deviation**2 <= 1e-5 * float(tensor.square().mean()):
        return 1.0
    if deviation > 0.1:
        return round(min(deviation / 0.1, 10.0), 6)
    if deviation > 0.05:
        return 1.0
    return max(2.0 ** round(math.log2(deviation / 0.05)), 0.0625)
