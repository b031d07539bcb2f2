"""The networks compute the formulas they are documented with, and start from their generator alone."""

import math

import pytest
import torch

from groktimizer.models import MLP, ModularMLP, ModularTransformer

MODELS = {
    "modular-mlp": lambda **given: ModularMLP(7, 12, **given),
    "matrix-mlp": lambda **given: ModularMLP(7, 9, combine="matrix", tables=2, biases=False, **given),
    "modular-transformer": lambda **given: ModularTransformer(7, 12, 3, **given),
    "mlp": lambda **given: MLP((5, 8, 3), 2.0, **given),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_modular_mlp_is_its_formula():
    model = ModularMLP(7, 12, generator=seeded(), dtype=torch.float64)
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    for (a, b), logits in zip(pairs.tolist(), model(pairs), strict=True):
        hidden = model.hidden.bias + model.hidden.weight @ (model.embedding[a] * model.embedding[b])
        wanted = model.output.bias + model.output.weight @ hidden.clamp(min=0)
        torch.testing.assert_close(logits, wanted)


def test_matrix_mlp_is_its_formula():
    """Each embedding is a 3 × 3 matrix; nothing is added, and the second symbol has its own table."""
    model = ModularMLP(7, 9, combine="matrix", tables=2, biases=False, generator=seeded(), dtype=torch.float64)
    assert model.second is not None
    assert {name for name, _ in model.named_parameters()} == {"embedding", "second", "hidden.weight", "output.weight"}
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    for (a, b), logits in zip(pairs.tolist(), model(pairs), strict=True):
        both = (model.embedding[a].reshape(3, 3) @ model.second[b].reshape(3, 3)).reshape(9)
        torch.testing.assert_close(logits, model.output.weight @ (model.hidden.weight @ both).clamp(min=0))


def test_transformer_is_attention_over_all_tokens_head_by_head():
    """The textbook block on one pair at a time: all three tokens embedded, every head a softmax over them."""
    p, width, heads = 7, 12, 3
    model = ModularTransformer(p, width, heads, generator=seeded(), dtype=torch.float64)
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    for (a, b), logits in zip(pairs.tolist(), model(pairs), strict=True):
        x = model.embedding[[a, b, p]] + model.position
        q, k, v = (x @ matrix.T for matrix in (model.query, model.key, model.value))
        parts = []
        for h in range(heads):
            s = slice(h * width // heads, (h + 1) * width // heads)
            attention = torch.softmax(q[:, s] @ k[:, s].T / math.sqrt(width / heads), dim=-1)
            parts.append(attention @ v[:, s])
        y = x[-1] + model.attention_output @ torch.cat(parts, -1)[-1]
        z = y + model.contract @ torch.relu(model.expand @ y)
        torch.testing.assert_close(logits, model.readout @ z)


def test_mlp_is_layers_with_relu_between():
    model = MLP((5, 8, 6, 3), generator=seeded(), dtype=torch.float64)
    x = torch.randn(4, 5, dtype=torch.float64)
    first, second, third = model.layers
    torch.testing.assert_close(model(x), third(second(first(x).relu()).relu()))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_weights_are_a_function_of_the_generator_alone(make):
    before = torch.get_rng_state()
    one, two, other = (make(generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_every_type_starts_from_the_same_numbers(make):
    exact, single = make(generator=seeded(), dtype=torch.float64), make(generator=seeded())
    for name, value in exact.state_dict().items():
        assert torch.equal(value.float(), single.state_dict()[name])


def test_initial_spread():
    """Uniform on ±s/√fan-in has deviation s/√(3 fan-in); Gaussian matrices have 1/√fan-in."""
    mlp = ModularMLP(97, 256, generator=seeded()).requires_grad_(False)
    assert float(mlp.embedding.std()) == pytest.approx(1, rel=0.02)
    assert float(mlp.hidden.weight.std()) == pytest.approx(1 / math.sqrt(3 * 256), rel=0.02)
    assert float(mlp.hidden.weight.abs().max()) <= 1 / 16
    wide = MLP((64, 500, 10), 8.0, generator=seeded()).requires_grad_(False)
    assert float(wide.get_parameter("layers.0.weight").std()) == pytest.approx(8 / math.sqrt(3 * 64), rel=0.02)
    former = ModularTransformer(97, 256, generator=seeded()).requires_grad_(False)
    for name, fan_in in {"embedding": 256, "query": 256, "expand": 256, "contract": 1024, "readout": 256}.items():
        assert float(former.get_parameter(name).std()) == pytest.approx(1 / math.sqrt(fan_in), rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModularMLP(0), "p=0"),
        (lambda: ModularMLP(5, -1), "width=-1"),
        (lambda: ModularMLP(5, 8, combine="matrix"), "width=8: expected a square"),
        (lambda: ModularMLP(5, combine="sum"), "combine='sum'"),  # pyright: ignore[reportArgumentType]
        (lambda: ModularMLP(5, tables=3), "tables=3"),  # pyright: ignore[reportArgumentType]
        (lambda: ModularTransformer(5, 10, 3), "heads=3"),
        (lambda: ModularTransformer(5, 10, 0), "heads=0"),
        (lambda: MLP((3,)), "at least two"),
        (lambda: MLP((3, 0)), r"sizes\[1\]=0"),
        (lambda: MLP((3, 2), 0.0), "init_scale=0.0"),
        (lambda: MLP((3, 2), math.nan), "init_scale=nan"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
