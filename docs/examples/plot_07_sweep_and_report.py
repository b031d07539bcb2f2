"""# A sweep and its report

A sweep computes a grid of settings, each once, and keeps the records. This one asks for the exact times of ridge
regression over learning rate, weight decay and seed; `groktimizer report` makes a page of what is recorded.
"""

# %%
# ## The sweep
#
# `kind="clock"` finds exact times and trains nothing; `kind="run"` would train. A range is a grid on a logarithmic
# scale.

import tempfile
from contextlib import chdir

import matplotlib.pyplot as plt
import numpy as np

from groktimizer.cli import main
from groktimizer.results import Store
from groktimizer.sweeps import Range, Sweep, planned, run_sweep
from groktimizer.sweeps.executors import computed

rates, decays = Range(0.1, 1.0, log=True, num=6), Range(1e-4, 1e-2, log=True, num=7)
axes = {"n": [20], "m": [200], "lr": rates, "weight_decay": decays}
sweep = Sweep("ridge", kind="clock", axes=axes, seeds=(0, 1, 2))
print(f"{sweep.count} cells")

# %%
# ## Computing it
#
# Without an executor, `run_sweep` starts processes; a script then needs `if __name__ == "__main__"` around the call.
# Cells as cheap as these are computed here as well, by an executor of a few lines.


class Here:
    """Computes every job in this process."""

    def run(self, jobs, keep, tell) -> None:
        for job in jobs:
            for done in computed(job, lambda event, job=job: tell(job.cells[0], event)):
                keep(done)


# %%
# A second call finds everything recorded. The folder is a temporary one; the report is one HTML file in it.

with tempfile.TemporaryDirectory() as place, chdir(place):
    store = Store("times")
    _, plan = planned(sweep, store, workers=1)
    for _ in range(2):
        result = run_sweep(sweep, store, plan, workers=1, executor=Here())
        print(f"{result.done} computed, {result.recorded} recorded before")
    records = [store.load(name) for name in result.identities]
    main(["report", "times"])

# %%
# ## From the records
#
# A record holds what was asked (`spec`) and what was found (`summary`). The median of t2 over the seeds:

found: dict[tuple[float, float], list[int]] = {}
for record in records:
    key = record.spec["lr"], record.spec["weight_decay"]
    found.setdefault(key, []).append(record.summary["times"]["generalised"])
table = np.array([[np.median(found[lr, decay]) for decay in decays.values] for lr in rates.values])
print(f"t2 from {table.min():,.0f} to {table.max():,.0f} steps")
ends = table[0, 0] * rates.low * decays.low, table[-1, -1] * rates.high * decays.high
print(f"t2 times lr times weight_decay: {ends[0]:.2f} in one corner, {ends[1]:.2f} in the opposite one")

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
colours = axes.pcolormesh(np.log10(decays.values), np.log10(rates.values), np.log10(table), shading="nearest")
axes.set(xlabel="log10 of the weight decay λ", ylabel="log10 of the learning rate η", title="Ridge regression: t2")
figure.colorbar(colours, label="log10 of t2 in steps, median of 3 seeds")
plt.show()
