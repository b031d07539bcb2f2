"""# Which weight decay removes the delay?

More decay forgets the initial weights sooner, and biases the result more. For ridge regression the least decay that
keeps a delay below a wish can be computed, without a run and without a grid.
"""

# %%
# ## A problem
#
# 40 samples in 200 dimensions. Five directions are strong, and the teacher lies in them; the others are weak. So
# weights of zero are wrong, the samples tell nearly all of the teacher, and what has to be forgotten are the initial
# weights in the weak directions.

import matplotlib.pyplot as plt
import numpy as np

from groktimizer.theory.ridge import Ridge, recommend

rng = np.random.default_rng(0)
variances = np.r_[np.ones(5), np.full(195, 1e-3)]
teacher, theta0 = np.r_[np.ones(5), np.zeros(195)], rng.normal(size=200)
problem = Ridge(rng.normal(size=(40, 200)) * np.sqrt(variances), teacher, covariance=variances)
lr, train_tolerance, test_tolerance = 0.5, 0.01, 0.01

# %%
# ## Delay against decay
#
# The delay is the number of steps between memorising (train loss within the tolerance) and generalising for good
# (population loss within its tolerance for ever). All times are exact. First on a grid, to see the whole:


def delay(decay: float) -> float:
    """Steps from memorising to generalising for good; NaN where one of them never happens."""
    found = problem.grokking_time(theta0, lr, decay, train_tolerance, test_tolerance)
    missing = found.memorised is None or found.settled is None
    return np.nan if missing else found.settled - found.memorised


decays = np.geomspace(1e-6, 1, 121)
delays = np.array([delay(decay) for decay in decays])
print(f"with a decay of {decays[0]:g} the delay is {delays[0]:,.0f} steps")
print(f"from a decay of {decays[np.isnan(delays)].min():.2g} on the run does not get within both tolerances")

# %%
# ## The advice
#
# `recommend` gives the least decay that grants the wish, since the bias rises with the decay. `groktimizer predict
# ridge --max-delay 100` prints the same on the command line.

advised = {}
for wish in (10_000, 1000, 100):
    advice = recommend(problem, theta0, train_tolerance, test_tolerance, max_delay=wish, lr=lr)
    advised[wish] = advice.weight_decay
    seen, cost = advice.times, f"the bias adds {advice.bias:.2g} to the population loss"
    told = f"memorised at {seen.memorised:,}, settled at {seen.settled:,}"
    print(f"delay of at most {wish:6,}: weight_decay {advice.weight_decay:.4g}, {told}; {cost}")

# %%
# A wish that no decay grants is refused:

try:
    recommend(problem, theta0, train_tolerance, test_tolerance, max_delay=0, lr=lr)
except ValueError as error:
    print(error)

# %%
# ## The figure
#
# The curve ends where the bias of the decay is larger than a tolerance.

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.semilogx(decays, delays, label="gradient descent, exact")
axes.set_yscale("symlog", linthresh=10)
for (wish, decay), marker in zip(advised.items(), "o^s", strict=True):
    axes.plot(decay, delay(decay), marker, label=f"advised for a delay ≤ {wish:,}")
axes.set(xlabel="weight decay λ", ylabel="delay (steps)", title=f"Ridge regression, learning rate {lr}")
axes.legend()
plt.show()
