"""# How long will it take to grok?

For ridge regression the whole run is known in closed form: both losses at any step, and the first steps at which a
run has memorised and generalised. Nothing is trained on this page.
"""

# %%
# ## A problem
#
# Twenty samples in 200 dimensions with a linear teacher. Gradient descent with a small weight decay fits the samples
# soon. What the samples do not see of the initial weights is forgotten by the decay alone, and that takes long.

import matplotlib.pyplot as plt
import numpy as np

from groktimizer.tasks import RidgeTask
from groktimizer.theory.ridge import Ridge

features, teacher, theta0 = (part.numpy() for part in RidgeTask(n=20, m=200).draw(0))
problem = Ridge(features, teacher, covariance=1 / 200)
lr, decay, tolerance = 1.0, 1e-4, 0.01

# %%
# ## Exact times
#
# t1 is the first step with a train loss within the tolerance, t2 the first with a population loss within it. "Settled"
# is the step from which the population loss stays there for ever. Critical damping is the momentum of phase 2.

methods = {"gradient descent": 0.0, "heavy ball 0.9": 0.9, "critical damping": "critical"}
times = {
    name: problem.grokking_time(theta0, lr, decay, tolerance, tolerance, momentum=momentum)
    for name, momentum in methods.items()
}
for name, found in times.items():
    print(f"{name:17} t1 {found.memorised:6,}  t2 {found.generalised:6,}  settled {found.settled:6,}")

zero = float(problem.trajectory(np.zeros(200), lr, decay).population_loss(0))
print(f"weights of zero have a population loss of {zero:.4f}")

# %%
# Weights of zero have learned nothing, and their population loss is within the tolerance: on this problem t2 is the
# step at which the initial weights are forgotten.
#
# Steps that nobody would wait for cost no more. With a decay of 1e-9:

far = problem.grokking_time(theta0, lr, 1e-9, tolerance, tolerance)
print(f"t2 of gradient descent: {far.generalised:,} steps")

# %%
# ## The curves
#
# Solid lines are population losses, dashed lines train losses, dots the times t1 and t2.

steps = np.unique(np.geomspace(1, 10**5, 400).astype(int))
figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for colour, (name, momentum) in zip(("C0", "C1", "C2"), methods.items(), strict=True):
    curve = problem.trajectory(theta0, lr, decay, momentum=momentum)
    axes.loglog(steps, curve.train_loss(steps), "--", color=colour, linewidth=1)
    axes.loglog(steps, curve.population_loss(steps), color=colour, label=name)
    ends = [times[name].memorised, times[name].generalised]
    axes.plot(ends, [curve.train_loss(ends[0]), curve.population_loss(ends[1])], "o", color=colour)
axes.axhline(tolerance, color="grey", linestyle=":", label="tolerance")
axes.set(xlabel="step", ylabel="loss (squared error)", ylim=(1e-6, None))
axes.set_title("Ridge regression, 20 samples in 200 dimensions")
axes.legend()
plt.show()

# %%
# ## The same with sliders
#
# The explorer evaluates these closed forms in the page. Move the decay down: the gap between t1 and t2 opens.
#
# <iframe src="../../explore-ridge.html" title="The explorer of ridge regression"
#   width="100%" height="900" loading="lazy"></iframe>
