"""# Going on from AdamW

A network that AdamW has trained knows its training pairs and little else. GROKtimizer takes it on: phase 2 begins at
once, and AdamW's second moments go on. A copy that AdamW keeps training stands beside it.
"""

# %%
# ## A network that has memorised
#
# Addition modulo 41 from 60 % of all pairs, 100 steps of AdamW with PyTorch's own weight decay.

import copy

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
def accuracy(model: nn.Module, pairs: Tensor, sums: Tensor) -> float:
    return float((model(pairs).argmax(1) == sums).float().mean())


def go_on(model: nn.Module, opt: torch.optim.Optimizer, steps: int) -> list[float]:
    """Train; give the test accuracy after every step."""
    seen: list[float] = []
    for _ in range(steps):
        opt.zero_grad()
        loss = cross_entropy(model(train[0]), train[1])
        loss.backward()
        if isinstance(opt, GROKtimizer):
            opt.observe(loss)
        opt.step()
        seen.append(accuracy(model, *test))
    return seen


adamw = torch.optim.AdamW(param_groups(model), lr=1e-2)
before = go_on(model, adamw, 100)
print(f"after 100 steps of AdamW: train accuracy {accuracy(model, *train):.3f}, test accuracy {before[-1]:.3f}")

# %%
# ## Taking it on
#
# `interpolation=float("inf")` says that the network has memorised already. The state of AdamW can be loaded if the
# parameter groups are the same. Without a state the same line works; second moments then start anew.

taken, kept = copy.deepcopy(model), copy.deepcopy(model)
opt = GROKtimizer(param_groups(taken), interpolation=float("inf"))
opt.load_state_dict(copy.deepcopy(adamw.state_dict()))
after = go_on(taken, opt, 200)

twin = torch.optim.AdamW(param_groups(kept), lr=1e-2)
twin.load_state_dict(copy.deepcopy(adamw.state_dict()))
longer = go_on(kept, twin, 200)

for name, network in (("GROKtimizer", taken), ("AdamW", kept)):
    scores = accuracy(network, *train), accuracy(network, *test)
    print(f"200 steps more with {name}: train accuracy {scores[0]:.3f}, test accuracy {scores[1]:.3f}")

# %%
# AdamW is not tuned here: with more decay it would generalise sooner, and the point is only what can be done with a
# network as it is.

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.plot(range(1, 101), before, "k--", label="AdamW, the first 100 steps")
axes.plot(range(101, 301), after, label="GROKtimizer from there")
axes.plot(range(101, 301), longer, label="AdamW from there")
axes.axvline(100, color="grey", linestyle=":", label="taken on")
axes.set(xlabel="step", ylabel="test accuracy (share of pairs)", title="Addition modulo 41, one network, two ways on")
axes.legend(loc="center right")
plt.show()
