"""GrokCallback with the real Trainer: what the optimizer observes, adapters, resuming, warnings, refusals."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from groktimizer import GROKtimizer, UserError, param_groups
from house_rules import public_api
from pages import ROOT
from same_run import QUIET, assert_same_run, parameters  # before any Hugging Face package: it sets them offline

pytestmark = QUIET
ROWS, LEVEL = 16, 0.3


@pytest.fixture(scope="module")
def hf() -> Any:
    import transformers

    import groktimizer.integrations.transformers as ours

    class Toolbox:
        Trainer, Arguments = transformers.Trainer, transformers.TrainingArguments
        module = ours
        Callback, TrainerCallback = ours.GrokCallback, transformers.TrainerCallback
        Llama, LlamaConfig = transformers.LlamaForCausalLM, transformers.LlamaConfig

    return Toolbox


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(ROWS, 20, generator=generator), torch.randint(4, (ROWS,), generator=generator)


class Network(nn.Module):
    """A model as the Trainer wants it: its loss beside its scores."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.config = None
        self.body = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 4))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        scores = self.body(x)
        return {"logits": scores} if labels is None else {"loss": cross_entropy(scores, labels), "logits": scores}


def trainer(hf: Any, model: nn.Module, opt: Any, make: Any = None, **options: Any) -> Any:
    plain: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    plain |= {"use_cpu": True, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "max_steps": 40}
    plain |= {"train_sampling_strategy": "sequential", "per_device_train_batch_size": 4}
    rows = options.pop("rows", [{"x": x, "labels": y} for x, y in zip(*data(), strict=True)])
    arguments = hf.Arguments("out", **(plain | options))
    made = (make or hf.Trainer)(model, arguments, train_dataset=rows, eval_dataset=rows, optimizers=(opt, None))
    made.add_callback(hf.Callback(made))
    return made


def optimizer(model: nn.Module, **options: Any) -> GROKtimizer:
    merged: dict[str, Any] = {"interpolation": LEVEL} | options
    return GROKtimizer(param_groups(model), **merged)


def plain_loop(every: int, steps: int, smoothing: float = 0.0, half: bool = False) -> GROKtimizer:
    model, (inputs, targets) = Network(), data()
    opt = optimizer(model)
    batches = list(zip(inputs.split(4), targets.split(4), strict=True))
    while opt.state_dict()["param_groups"][0]["control"]["steps"] < steps:
        for start in range(0, len(batches), every):
            part = batches[start : start + every]
            opt.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                losses = [cross_entropy(model.body(x), y, label_smoothing=smoothing) / len(part) for x, y in part]
            total = torch.stack(losses).sum()
            total.backward()
            opt.observe(total)
            opt.step()
    return opt


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    seen: list[float] = []
    plain = GROKtimizer.observe

    def observe(self: GROKtimizer, loss: Any) -> None:
        seen.append(float(loss.detach()))
        plain(self, loss)

    monkeypatch.setattr(GROKtimizer, "observe", observe)
    yield seen


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps the first precision of a process for ever."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
@pytest.mark.parametrize(("every", "half"), [(1, False), (3, False), (1, True)])  # of four batches 3: one is left over
def test_the_trainer_is_the_plain_loop_and_evaluations_say_nothing(
    hf: Any, observed: list[float], every: int, half: bool
):
    steps = 80 if every == 1 else 60
    model = Network()
    opt = optimizer(model)
    how: dict[str, Any] = {
        "max_steps": steps,
        "bf16": half,
        "gradient_accumulation_steps": every,
        "eval_strategy": "steps",
        "eval_steps": 25,
    }
    made = trainer(hf, model, opt, **how)
    made.train()
    assert len(observed) == steps
    assert_same_run(opt, plain_loop(every, steps, half=half))
    assert {"grok_switch_step": opt.switch_step}.items() <= {
        key: value for row in made.state.log_history for key, value in row.items()
    }.items()
    assert "training_step" not in vars(made)


def test_a_loss_that_the_trainer_makes_itself_is_the_one_that_is_seen(hf: Any, observed: list[float]):
    """Label smoothing is added outside the model: a hook on its forward would not see it."""

    class Keeps(hf.Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            losses.append(float(loss.detach()))
            return loss

    losses: list[float] = []
    model = Network()
    trainer(hf, model, optimizer(model), make=Keeps, max_steps=6, label_smoothing_factor=0.2).train()
    assert observed == losses
    alone = plain_loop(1, 4, smoothing=0.2)
    assert observed[:1] == pytest.approx([alone.state_dict()["param_groups"][0]["control"]["first_loss"]])


def test_a_language_model_that_divides_by_tokens_is_observed_as_it_is_differentiated(hf: Any, observed: list[float]):
    """Micro-batches of 9 and of 2 tokens: the mean over tokens, not over micro-batches."""
    small = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    config = hf.LlamaConfig(**small, num_attention_heads=2, max_position_embeddings=16)
    torch.manual_seed(1)
    model = hf.Llama(config)
    tokens = torch.randint(20, (4, 6))
    labels = tokens.clone()
    labels[0, :2], labels[2:, :5] = -100, -100
    with torch.no_grad():
        scores = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
        wanted = float(cross_entropy(scores, labels[:, 1:].flatten(), ignore_index=-100))
    rows = [{"input_ids": line, "labels": label} for line, label in zip(tokens, labels, strict=True)]
    how: dict[str, Any] = {
        "rows": rows,
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
    }
    trainer(hf, model, optimizer(model), **how).train()
    assert observed == pytest.approx([wanted], rel=1e-5)


@pytest.mark.parametrize("cut", [12, 60])
def test_a_checkpoint_of_the_trainer_resumes_bit_equal(hf: Any, cut: int):
    model = Network()
    wanted = optimizer(model)
    trainer(hf, model, wanted, max_steps=80, save_strategy="steps", save_steps=cut).train()
    assert wanted.switch_step is not None and 12 < wanted.switch_step < 60
    model = Network()
    found = optimizer(model)
    trainer(hf, model, found, max_steps=80).train(resume_from_checkpoint=f"out/checkpoint-{cut}")
    assert torch.equal(parameters(found), parameters(wanted)) and found.switch_step == wanted.switch_step


def test_a_run_that_broke_off_leaves_no_second_listener(hf: Any, observed: list[float]):
    class Breaks(hf.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                made.remove_callback(self)
                raise KeyboardInterrupt

    model = Network()
    made = trainer(hf, model, optimizer(model), max_steps=4)
    made.add_callback(Breaks())
    with pytest.raises(KeyboardInterrupt):
        made.train()
    made.train()
    assert len(observed) == 2 + 4
    made.training_step = plain = made.training_step  # somebody else's, which stays
    made.train()
    assert vars(made)["training_step"] == plain and len(observed) == 2 + 4 + 4


def test_the_factors_of_lora_are_penalised_and_what_is_frozen_is_not_there(hf: Any):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["0"], modules_to_save=["2"], use_dora=True)
    model: Any = get_peft_model(Network(), config)  # pyright: ignore[reportArgumentType]
    names = {id(param): name for name, param in model.named_parameters()}
    weights, others = ({names[id(p)].split("model.")[-1] for p in g["params"]} for g in param_groups(model))
    assert weights == {
        "body.0.lora_A.default.weight",
        "body.0.lora_B.default.weight",
        "body.2.modules_to_save.default.weight",
    }
    assert others == {"body.0.lora_magnitude_vector.default.weight", "body.2.modules_to_save.default.bias"}
    opt = optimizer(model)
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    trainer(hf, model, opt, max_steps=400, per_device_train_batch_size=16).train()
    moved = {name.split("model.")[-1] for name, param in model.named_parameters() if not param.equal(before[name])}
    assert opt.phase == 2 and moved == weights | others


def test_decay_of_the_factors_is_the_nuclear_norm_of_their_product():
    """At the smallest (|A|² + |B|²)/2 among all factors of a product, which is what phase 2 goes to."""
    torch.manual_seed(0)
    product = torch.randn(12, 3, dtype=torch.float64) @ torch.randn(3, 9, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(product, full_matrices=False)
    balanced = (u * s.sqrt(), s.sqrt()[:, None] * vh)
    nuclear = float(s.sum())
    assert sum(float(f.square().sum()) for f in balanced) / 2 == pytest.approx(nuclear)
    for _ in range(20):
        mix = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64))[0] * torch.rand(9, dtype=torch.float64).add(0.5)
        left, right = balanced[0] @ mix, torch.linalg.solve(mix, balanced[1])
        assert torch.allclose(left @ right, product)
        assert float(left.square().sum() + right.square().sum()) / 2 >= nuclear * (1 - 1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_grad_norm": 1.0}, "max_grad_norm=1.0 shortens the force of the loss .*: expected max_grad_norm=0.0"),
        ({"lr_scheduler_type": "linear"}, "lr_scheduler_type='linear' takes the learning rate to 0 of itself at"),
        ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type='cosine' takes the learning rate to 0 "),
    ],
)  # fmt: skip
def test_what_is_not_meant_for_phase_2_is_warned_of(hf: Any, options: Any, message: str):
    model = Network()
    with pytest.warns(UserWarning, match=f"GrokCallback: {message}") as said:
        trainer(hf, model, optimizer(model), max_steps=2, **options).train()
    assert len(said) == 1


def test_a_warm_up_is_no_reason_to_warn(hf: Any):
    model = Network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        how: dict[str, Any] = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2}
        trainer(hf, model, optimizer(model), max_steps=4, **how).train()


def test_the_public_names_are_those_of_the_snapshot(hf: Any):
    assert public_api(hf.module) in (ROOT / "tests" / "snapshots" / "integrations.txt").read_text()


def test_another_optimizer_and_another_trainer_are_refused(hf: Any):
    model = Network()
    with pytest.raises(UserError, match="GrokCallback: the trainer's optimizers are SGD: expected exactly one GROK"):
        trainer(hf, model, torch.optim.SGD(model.parameters())).train()
    with pytest.raises(UserError, match=r"trainer=None: expected the transformers\.Trainer"):
        hf.Callback(None)
