"""# A training loop of your own

A small network learns addition modulo 41 from 60 % of all pairs. It knows its training pairs long before it can
answer the others: it memorises first and generalises later. The loop is an ordinary PyTorch loop with one more line.
"""

# %%
# ## Data and network
#
# Two symbols are looked up in an embedding, their vectors stand side by side, and two linear layers give the answer.

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from groktimizer import GROKtimizer, param_groups

torch.set_num_threads(1)  # tensors are small here
torch.manual_seed(0)
p = 41
pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))[torch.randperm(p * p)]
sums = pairs.sum(1) % p
n = int(0.6 * len(pairs))
train, test = (pairs[:n], sums[:n]), (pairs[n:], sums[n:])
model = nn.Sequential(nn.Embedding(p, 64), nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, p))


@torch.no_grad()
def accuracy(pairs: Tensor, sums: Tensor) -> float:
    return float((model(pairs).argmax(1) == sums).float().mean())


# %%
# ## The loop
#
# `observe` hands the training loss to the optimizer, which decides by it when phase 2 begins. Nothing is tuned.

opt = GROKtimizer(param_groups(model))
curves: dict[str, list[float]] = {"train": [], "test": []}
for _ in range(200):
    opt.zero_grad()
    loss = cross_entropy(model(train[0]), train[1])
    loss.backward()
    opt.observe(loss)
    opt.step()
    curves["train"].append(accuracy(*train))
    curves["test"].append(accuracy(*test))

# %%
# ## When it memorised, and when it generalised
#
# Phase 2 begins at the switch, soon after the network has memorised. Its answers to the other pairs are wrong then.
# They become right while the norm of the weights falls.

for name, values in curves.items():
    first = next((step for step, value in enumerate(values, start=1) if value >= 0.99), None)
    switch, last = values[opt.switch_step - 1], values[-1]
    print(
        f"{name:5} accuracy: at the switch {switch:.3f}, at the end {last:.3f}, first at 0.99 or more at step {first}"
    )
print(opt.status)

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for (name, values), style in zip(curves.items(), ("--", "-"), strict=True):
    axes.plot(range(1, len(values) + 1), values, style, label=f"{name} accuracy")
axes.axvline(opt.switch_step, color="grey", linestyle=":", label="phase 2 begins")
axes.set(xlabel="step", ylabel="accuracy (share of pairs)", title="Addition modulo 41, 60 % of all pairs to train on")
axes.legend(loc="center right")
plt.show()
