"""# Lightning and the Hugging Face Trainer

A framework calls `step` for you. Lightning hands over the loss by itself, and `GrokMonitor` adds the clocks; the
Trainer shows the optimizer no loss, so `GrokCallback` has to pass it on. The models here are tiny and download nothing.
"""

# %%
# ## Lightning
#
# 64 points in four classes with random labels, and the same points with noise as validation set. `GrokMonitor` takes
# two conditions on what the module logs.

import logging
import os
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here asks a network
warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # Lightning's use of torch's pytree
warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # Lightning's, of the data in memory

import lightning
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

from groktimizer import GROKtimizer, param_groups
from groktimizer.integrations.lightning import GrokMonitor
from groktimizer.integrations.transformers import GrokCallback
from groktimizer.tasks import Criterion

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # no tips
torch.set_num_threads(1)  # tensors are small here
torch.manual_seed(0)
inputs, targets = torch.randn(64, 20), torch.randint(4, (64,))
held_out = inputs + 0.3 * torch.randn_like(inputs)


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))

    def configure_optimizers(self) -> GROKtimizer:
        return GROKtimizer(param_groups(self.model))

    def log_accuracy(self, name: str, batch: list) -> None:
        hits = self.model(batch[0]).argmax(dim=1) == batch[1]
        self.log(name, hits.float().mean(), on_step=False, on_epoch=True)

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        self.log_accuracy("train_accuracy", batch)
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: list, batch_idx: int) -> None:
        self.log_accuracy("val_accuracy", batch)


monitor = GrokMonitor(
    memorised=Criterion("train_accuracy", 0.99, above=True),
    generalised=Criterion("val_accuracy", 0.95, above=True),
)
quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = lightning.Trainer(max_epochs=60, accelerator="cpu", logger=False, callbacks=[monitor], **quiet)
trainer.fit(Module(), DataLoader(TensorDataset(inputs, targets), 64), DataLoader(TensorDataset(held_out, targets), 64))
print(f"memorised at step {monitor.times.memorised}, generalised at step {monitor.times.generalised}")
print(trainer.optimizers[0].status)

# %%
# ## The Trainer
#
# A BERT of one layer, drawn at random, learns random labels of 16 lines. Three settings are worth a look: a constant
# learning rate, no clipping, and the optimizer given in `optimizers`.

config = BertConfig(
    vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=4,
    max_position_embeddings=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
rows = [{"input_ids": torch.randint(50, (8,)), "labels": torch.randint(4, ())} for _ in range(16)]
bert = BertForSequenceClassification(config)
opt = GROKtimizer(param_groups(bert))
with tempfile.TemporaryDirectory() as folder:
    settings = TrainingArguments(
        folder, max_steps=60, per_device_train_batch_size=16, lr_scheduler_type="constant", max_grad_norm=0.0,
        report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    hugging_face = Trainer(bert, settings, train_dataset=rows, optimizers=(opt, None))
    hugging_face.add_callback(GrokCallback(hugging_face))
    hugging_face.remove_callback(PrinterCallback)  # it would print seconds
    hugging_face.train()
print({name: value for line in hugging_face.state.log_history for name, value in line.items() if "grok" in name})
print(opt.status)

# %%
# ## The rows of the monitor
#
# One row after each epoch, which here is one step: the norm of what is penalised, and both accuracies.

history = monitor.history
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
axes.plot(history["step"], history["train_accuracy"], "--", label="training accuracy")
axes.plot(history["step"], history["val_accuracy"], label="validation accuracy")
axes.axvline(trainer.optimizers[0].switch_step, color="grey", linestyle=":", label="phase 2 begins")
axes.set(xlabel="step", ylabel="accuracy (share of rows)", title="Lightning, with GrokMonitor")
norms = axes.twinx()
norms.plot(history["step"], history["norm"], color="C2", linewidth=1, label="norm (right)")
norms.set_ylabel("norm of the weights")
figure.legend(loc="outside lower center", ncols=2)
plt.show()
