"""# Two processes

A network whose weights are sharded by `fully_shard` (FSDP2) over two processes takes the steps of one process, up to
rounding: the ranks agree on every number that decides. The processes run on this machine, over gloo.
"""

# %%
# ## What each process does
#
# The loop is the loop of one process; each rank observes its own loss. For comparison each process also trains the
# whole network alone, on all samples, and says by `process_group=False` that this run asks no other rank. The code
# stands in a file of its own, which the processes run.

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

code = """
import os

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from groktimizer import GROKtimizer, param_groups

store, ranks, rank = os.environ["STORE"], int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])


def train(shard):
    torch.manual_seed(0)
    inputs, targets = torch.randn(32, 10).double(), torch.randn(32, 2).double()
    model = torch.nn.Sequential(torch.nn.Linear(10, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)).double()
    if shard:
        fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
        inputs, targets = inputs[rank::ranks], targets[rank::ranks]  # each rank has its own samples
    opt, losses = GROKtimizer(param_groups(model), process_group=None if shard else False), []
    for _ in range(150):
        opt.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        opt.observe(loss)
        opt.step()
        losses.append(loss.item())
    parts = list(model.parameters())
    whole = [part.full_tensor() if isinstance(part, DTensor) else part for part in parts]
    kept = sum(part.to_local().numel() if isinstance(part, DTensor) else part.numel() for part in parts)
    weights = torch.cat([part.detach().flatten() for part in whole])
    return {"weights": weights, "losses": losses, "kept": kept, "switch": opt.switch_step}


dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
torch.save({"sharded": train(True), "alone": train(False)}, f"{store}-{rank}.pt")
dist.destroy_process_group()
"""

# %%
# ## Two of them
#
# On a cluster `torchrun` starts the processes; the loop stays the same.

with tempfile.TemporaryDirectory() as folder:
    script, store = Path(folder, "loop.py"), Path(folder, "store")
    script.write_text(code, encoding="utf-8")
    world = os.environ | {"STORE": str(store), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    started = [subprocess.Popen([sys.executable, str(script)], env=world | {"RANK": f"{rank}"}) for rank in (0, 1)]
    codes = [process.wait(timeout=120) for process in started]
    assert codes == [0, 0], codes
    ranks = [torch.load(f"{store}-{rank}.pt") for rank in (0, 1)]

alone = ranks[0]["alone"]
print(f"one process: {alone['kept']} parameters, phase 2 from step {alone['switch']}")
for rank, found in enumerate(each["sharded"] for each in ranks):
    apart = float((found["weights"] - alone["weights"]).norm() / alone["weights"].norm())
    print(f"rank {rank} of two: keeps {found['kept']} of them, phase 2 from step {found['switch']}")
    print(f"    relative distance of all weights from those of one process below 1e-10: {apart < 1e-10}")

# %%
# ## The loss
#
# A rank's own loss is that of its own samples. The mean over the ranks is what they agree on.

mean = torch.tensor([each["sharded"]["losses"] for each in ranks]).mean(0)
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for rank, each in enumerate(ranks):
    axes.semilogy(each["sharded"]["losses"], linewidth=1, label=f"rank {rank} of two")
axes.semilogy(mean, "k", label="mean of the two")
axes.semilogy(alone["losses"], "--", color="C2", label="one process")
axes.axvline(alone["switch"], color="grey", linestyle=":", label="phase 2 begins")
axes.set(xlabel="step", ylabel="training loss (squared error)", title="One run, in one process and in two")
axes.legend()
plt.show()
