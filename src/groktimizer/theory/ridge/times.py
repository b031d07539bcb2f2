"""What `Ridge.grokking_time` returns: the times, and why a time is missing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from groktimizer.measures import Clocks
from groktimizer.theory.clock.forecast import End, broken
from groktimizer.theory.clock.search import LATEST
from groktimizer.theory.ridge.spectrum import Array

BIAS, NOISE, TARGETS = "bias of weight decay", "label noise", "targets that the features do not reach"


@dataclass(frozen=True)
class Floors:
    """Where the losses end, and what the population loss ends with.

    Args:
        train: Limit of the train loss.
        population: Limit of the population loss.
        bias: Population loss that decay costs in the directions the data determine.
        noise: Population loss that label noise costs there.
        null_space: Population loss of the null space: what the data do not show of the teacher.
        unreachable: Train loss of the noise that no parameters can fit.
        approximation: Population loss that no parameters with these fits of the train targets can avoid.
        has_teacher: The problem names a teacher; without one bias and null space are those of the best fit.
    """

    train: float
    population: float
    bias: float
    noise: float
    null_space: float
    unreachable: float
    approximation: float = 0.0
    has_teacher: bool = True

    @property
    def largest_train_term(self) -> str:
        """Name of the larger term of the train floor: what no parameters can fit, or what decay adds to it."""
        if self.unreachable <= self.train / 2:
            return BIAS
        return NOISE if self.has_teacher else TARGETS

    @property
    def largest_term(self) -> str:
        """Name of the largest term of the population floor."""
        terms = {BIAS: self.bias, NOISE: self.noise, "null space": self.null_space, TARGETS: self.approximation}
        return max(terms, key=lambda name: terms[name])


@dataclass(frozen=True)
class GrokkingTime(Clocks):
    """Clocks of both losses within their tolerance; arXiv 2601.19791 has t1 = memorised_settled - 1, t2 = generalised.

    Args:
        train_tolerance: epsilon.
        test_tolerance: c.
        limits: Gives `floors`; called when they are first read.
        unresolved: Losses whose search gave up; their missing times are unknown rather than infinite.
        theta0: The initial parameters of the run.
        overparameterised: The features leave a null space, without which nothing is left to forget after memorising.
    """

    train_tolerance: float
    test_tolerance: float
    limits: Callable[[], Floors] = field(repr=False, compare=False)
    unresolved: tuple[str, ...]
    theta0: Array
    overparameterised: bool = True

    @cached_property
    def floors(self) -> Floors:
        """Limits of the losses."""
        return self.limits()

    @property
    def advice(self) -> tuple[str, ...]:
        """One line for each tolerance that cannot be kept, for a missing null space, for each search that gave up."""
        floors = self.floors
        train = End(floors.train, self.train_tolerance, f"mostly from the {floors.largest_train_term}")
        test = End(floors.population, self.test_tolerance, f"mostly from the {floors.largest_term}")
        lines = broken({"train": train, "test": test}, ("train loss", "population loss"))
        regime = "features: no null space (rank m), so this is not grokking's regime; the times are still exact"
        undecided = f"loss: undecided; raise budget, unless it still moves after {LATEST:.1g} steps"
        lines += [] if self.overparameterised else [regime]
        return (*lines, *(f"{name} {undecided}" for name in self.unresolved))
