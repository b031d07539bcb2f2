"""# Sharpness before and after phase 2

Does the second phase end where the loss is flat? That depends on the measure. Here one small network is measured at the
switch and at the end, by two measures that a rescaling of its layers moves and by one that it does not move.
"""

# %%
# ## One network, two states
#
# A two-layer network on 64 of scikit-learn's digits, from large initial weights. A copy is kept at the step on which
# phase 2 begins.

import copy

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

from groktimizer import GROKtimizer, param_groups
from groktimizer.measures import curvature, fisher_rao, rescale, sam_sharpness
from groktimizer.models import MLP

torch.set_num_threads(1)  # tensors are small here
torch.manual_seed(0)
images, classes = load_digits(return_X_y=True)
order = torch.randperm(len(images))
inputs, targets = (torch.from_numpy(images) / 16 - 0.5)[order], torch.from_numpy(classes).long()[order]
inputs, targets, others, truth = inputs[:64], targets[:64], inputs[64:], targets[64:]

model = MLP([64, 64, 10], init_scale=4.0, dtype=torch.float64)
opt = GROKtimizer(param_groups(model))
switched = None
for _ in range(200):
    opt.zero_grad()
    loss = cross_entropy(model(inputs), targets)
    loss.backward()
    opt.observe(loss)
    if opt.phase == 1:
        switched = copy.deepcopy(model)  # the last state before phase 2
    opt.step()

# %%
# ## The measures
#
# λ_max is the largest eigenvalue of the Hessian of the training loss. SAM-sharpness is the largest rise of the loss in
# a ball of radius 0.05. Fisher–Rao is θᵀGθ, which no exchange of factors between layers moves. As a check the last
# network is measured again, with its first layer eight times as large and its second an eighth: the same function.

rescaled = copy.deepcopy(model)
rescale(list(rescaled.layers[0].parameters()), rescaled.layers[1].weight, 8.0)
states = {"at the switch": switched, "at the end": model, "at the end, rescaled": rescaled}
found = {}
for name, network in states.items():
    data = network, cross_entropy, inputs, targets
    values = {"λ_max": curvature(*data).largest, "SAM-sharpness": sam_sharpness(*data), "Fisher–Rao": fisher_rao(*data)}
    found[name] = values
    with torch.no_grad():
        loss = float(cross_entropy(network(inputs), targets))
        test = float((network(others).argmax(1) == truth).double().mean())
    told = ", ".join(f"{measure} {value:.3g}" for measure, value in values.items())
    print(f"{name}: training loss {loss:.3f}, test accuracy {test:.3f}; {told}")

# %%
# ## What it says
#
# The bars are relative to the switch. The training loss there is another one, and that alone moves all three measures.
# The third bar of each group is of the same function as the second: where they differ, the measure speaks of the
# parametrisation. One network and one seed prove nothing; [Flat minima](../flat-minima.md) has ten seeds of five tasks.

figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for place, (name, values) in enumerate(found.items()):
    ratios = [value / found["at the switch"][measure] for measure, value in values.items()]
    axes.bar([group + 0.27 * (place - 1) for group in range(3)], ratios, width=0.27, label=name)
axes.set(yscale="log", ylabel="measure relative to the switch", title="64 digits, one network", xticks=range(3))
axes.set_xticklabels(found["at the switch"])
axes.axhline(1, color="grey", linestyle=":")
axes.legend()
plt.show()
