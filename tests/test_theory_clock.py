"""The one search of all clocks against brute force: conditions that say little of themselves, and modes that ring."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groktimizer.dynamics import Phase, solve
from groktimizer.theory.clock.exponentials import Below, Modes, Piece, lowest
from groktimizer.theory.clock.quadratic import Diagonal, Squares
from groktimizer.theory.clock.search import EVER, LATEST, Crossing, Plain, crossing, divided, first_step, ladder


class Listed(Plain):
    """A condition that is given step by step and then stays; bounds tell the truth, or by chance nothing."""

    def __init__(self, met: np.ndarray, seed: int) -> None:
        self.met, self.rng = met, np.random.default_rng(seed)

    def walk(self, first: int, last: int) -> np.ndarray:
        return self.met[np.minimum(np.arange(first, last + 1), self.met.size - 1)]

    def labels(self, edges: np.ndarray) -> np.ndarray:
        found = []
        for first, after in itertools.pairwise(edges):
            seen = self.met[min(int(first), self.met.size - 1) : int(min(after, self.met.size))]
            hidden = self.rng.random() < 0.5 and first < self.met.size and math.isfinite(after)
            found.append(0 if hidden or seen.any() != seen.all() else 1 if seen.all() else -1)
        return np.array(found, np.int8)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 3000), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_first_and_settled_are_those_of_every_step(seed: int, lengths: list[int], share: float):
    met = np.random.default_rng(seed).random(sum(lengths)) < share
    starts = [0, *np.cumsum(lengths)[:-1].tolist()]
    curves = [Listed(met[start : start + length], seed) for start, length in zip(starts, lengths, strict=True)]
    steps = np.flatnonzero(met)
    first = int(steps[0]) if steps.size else None
    settled = int(np.flatnonzero(~met)[-1]) + 1 if not met.all() else 0
    assert crossing(curves.__getitem__, starts) == Crossing(first, settled if met[-1] else None)
    whole = Listed(met, seed)
    assert first_step(whole, 1) == first
    assert first_step(whole, -1) == (None if met.all() else int(np.argmin(met)))


class Silent(Listed):
    """A condition whose bounds say nothing but how it ends."""

    def labels(self, edges: np.ndarray) -> np.ndarray:
        return np.isinf(edges[1:]).astype(np.int8)


def test_a_spent_budget_is_no_answer():
    late = Silent(np.arange(500) == 499, 0)
    assert crossing(lambda _: late, [0], budget=490) == Crossing(None, None, resolved=False)


@pytest.mark.parametrize("last", [0, 1, 63, 64, 65, 1000, LATEST - 1])
def test_intervals_cover_every_step_once(last: int):
    edges = ladder(last)
    assert edges[0] == 0 and edges[-1] == last + 1 and (np.diff(edges) > 0).all()
    if last > 100:
        parts = divided(17, last)
        assert parts[0] == 17 and parts[-1] == last + 1 and (np.diff(parts) > 0).all()
    assert EVER[-2] == LATEST and math.isinf(EVER[-1])


def modes_of(setting: tuple[int, float, float], switch: int | None = None) -> list[Modes]:
    """A few modes of every kind: slow, critical, ringing, ringing near the other side, alternating."""
    seed, momentum, decay = setting
    rng = np.random.default_rng(seed)
    curvature = np.append(rng.uniform(0, 1.9 * (1 + momentum), 6), [0.0, 0.9 * 2 * (1 + momentum)])
    phases = [Phase(0, 1.0, decay, momentum)]
    if switch:
        phases = [Phase(0, 0.5, 0.0), Phase(switch, 1.0, decay, momentum, carry_velocity=True)]
    pull = rng.normal(size=8) * (curvature > 0)
    return [Modes(segment) for segment in solve(phases, curvature, pull, rng.normal(size=8), target=rng.normal(size=8))]


SETTINGS = st.tuples(
    st.integers(0, 999), st.sampled_from([0.0, 0.5, 0.9, 0.98**2]), st.sampled_from([4e-4, 1e-2, 0.05])
)


@given(SETTINGS, st.sampled_from([None, 7]))
@settings(max_examples=60, deadline=None)
def test_modes_stay_in_their_box_and_losses_in_their_range(setting, switch):
    for modes in modes_of(setting, switch):
        steps = np.arange(3000)
        offsets = modes.segment.offsets(steps)[0]
        rng = np.random.default_rng(setting[0])
        losses = [
            Diagonal(rng.normal(size=8), rng.normal(size=8), 0.1),
            Squares(rng.normal(size=(5, 8)), np.ones(5), 0.2),
        ]
        for edges in (np.append(ladder(2999), np.inf), np.arange(0, 300.0, 5), divided(1111, 2222)):
            box = modes.box(edges)
            for i, (first, after) in enumerate(itertools.pairwise(edges)):
                inside = offsets[int(first) : int(min(after, 3000))]
                seen = np.where(box.mirrored, np.abs(inside), inside)
                assert (seen >= box.low[i] - 1e-14).all() and (seen <= box.high[i] + 1e-14).all()
                for loss in losses:
                    low, high = loss.range(box)
                    assert (loss(inside) >= low[i] * (1 - 1e-12)).all() and (
                        loss(inside) <= high[i] * (1 + 1e-12)
                    ).all()


@given(SETTINGS, st.sampled_from([None, 7]), st.floats(-6, 1))
@settings(max_examples=60, deadline=None)
def test_a_walk_is_every_step_and_a_coarse_one_on_the_right_side(setting, switch, digits):
    for modes in modes_of(setting, switch):
        rng = np.random.default_rng(setting[0])
        for loss in (
            Diagonal(rng.normal(size=8), rng.normal(size=8) / 9, 0.0),
            Squares(np.eye(8), np.ones(8) / 9, 0.0),
        ):
            piece, level = Piece(modes, loss), 10.0**digits
            exact = piece.values(np.arange(13, 2000))
            np.testing.assert_allclose(piece.walk(13, 1999), exact, rtol=1e-9, atol=1e-12)
            clear = np.abs(exact - level) > 1e-9 * level
            assert ((piece.met(13, 1999, level) == (exact <= level)) | ~clear).all()


def test_the_lowest_step_is_the_least_of_all():
    (modes,) = modes_of((4, 0.0, 0.0))
    loss = Diagonal(np.ones(8), np.linspace(-1, 1, 8), 0.0)
    step, least = lowest(Piece(modes, loss))
    values = Piece(modes, loss).values(np.arange(20_000))
    assert least <= values.min() * (1 + 1e-12)
    assert step == LATEST or values[step] == pytest.approx(values.min(), rel=1e-12)


@given(SETTINGS, st.floats(-3, 1))
@settings(max_examples=30, deadline=None)
def test_times_of_a_loss_are_those_of_every_step(setting, digits):
    (modes,) = modes_of(setting)
    piece, level = Piece(modes, Diagonal(np.ones(8), np.zeros(8), 0.0)), 10.0**digits
    found = crossing(lambda _: Below(piece, level), [0])
    met = piece.values(np.arange(4000)) <= level
    assert found.first == int(np.argmax(met)) if met.any() else found.first is None or found.first >= 4000
    if found.settled is not None and found.settled < 4000:
        assert met[found.settled :].all() and (found.settled == 0 or not met[found.settled - 1])
