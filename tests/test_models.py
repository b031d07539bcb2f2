"""The networks compute the formulas they are documented with, and start from their generator alone."""

import math

import pytest
import torch

from groktimizer.models import (
    MLP,
    NETWORKS,
    DeepTransformer,
    ModularMLP,
    ModularTransformer,
    Recurrent,
    Shape,
    SmallCNN,
    TwoHotMLP,
    check_shape,
)
from groktimizer.models.transformer import Block

MODELS = {
    "modular-mlp": lambda **given: ModularMLP(7, 12, **given),
    "matrix-mlp": lambda **given: ModularMLP(7, 9, combine="matrix", tables=2, biases=False, **given),
    "modular-transformer": lambda **given: ModularTransformer(7, 12, 3, **given),
    "mlp": lambda **given: MLP((5, 8, 3), 2.0, **given),
    "two-hot": lambda **given: TwoHotMLP(7, 12, **given),
    "gromov": lambda **given: TwoHotMLP(7, 12, "quadratic", mean_field=True, **given),
    "deep-transformer": lambda **given: DeepTransformer(7, 12, 3, layers=2, tied=True, **given),
    "gru": lambda **given: Recurrent("gru", 6, 2, **given),
    "lstm": lambda **given: Recurrent("lstm", 6, 2, **given),
    "cnn": lambda **given: SmallCNN(8, 4, 10, 2.0, **given),
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


COMBINED = {
    "product": lambda left, right: left * right,
    "sum": lambda left, right: left + right,
    "concatenation": lambda left, right: torch.cat((left, right)),
    "matrix": lambda left, right: (left.reshape(3, 3) @ right.reshape(3, 3)).reshape(9),
}
ACTIVATED = {
    "relu": lambda x: x.clamp(min=0),
    "quadratic": lambda x: x * x,
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
}


@pytest.mark.parametrize("combine", COMBINED)
@pytest.mark.parametrize("activation", ACTIVATED)
@pytest.mark.parametrize("tables", [1, 2])
def test_every_mlp_is_its_formula(combine: str, activation: str, tables: int):
    shape = Shape(9, combine=combine, tables=tables, activation=activation)
    check_shape("mlp", shape)
    model = NETWORKS["mlp"].make(5, shape, seeded(), torch.float64)
    assert isinstance(model, ModularMLP)
    second = model.embedding if model.second is None else model.second
    assert (model.second is None) == (tables == 1)
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    for (a, b), logits in zip(pairs.tolist(), model(pairs), strict=True):
        both = COMBINED[combine](model.embedding[a], second[b])
        hidden = ACTIVATED[activation](model.hidden.bias + model.hidden.weight @ both)
        torch.testing.assert_close(logits, model.output.bias + model.output.weight @ hidden)


@torch.no_grad()
def scale(model: ModularMLP, factor: float) -> None:
    for param in model.hidden.parameters():
        param.mul_(factor)


def test_a_last_layernorm_takes_the_length_out_of_all_weights_before_the_read_out():
    """By hand; and the hidden layer, large as against LayerNorm's 1e-5, times 3 moves the logits only without it."""
    plain, normed = (NETWORKS["mlp"].make(5, Shape(9, norm=norm), seeded(), torch.float64) for norm in (False, True))
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    assert isinstance(plain, ModularMLP) and isinstance(normed, ModularMLP)
    scale(plain, 100.0)
    scale(normed, 100.0)
    both = normed.embedding[pairs[:, 0]] * normed.embedding[pairs[:, 1]]
    hidden = (both @ normed.hidden.weight.T + normed.hidden.bias).relu()
    centred = hidden - hidden.mean(1, keepdim=True)
    hidden = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    before = normed(pairs)
    torch.testing.assert_close(before, hidden @ normed.output.weight.T + normed.output.bias)
    assert torch.equal(plain.embedding, normed.embedding)
    first = plain(pairs)
    for model in (plain, normed):
        scale(model, 3.0)
    torch.testing.assert_close(normed(pairs), before, rtol=1e-4, atol=1e-4)
    assert (plain(pairs) - first).abs().max() > 0.5 * first.abs().max()


@pytest.mark.parametrize("activation", ACTIVATED)
def test_two_hot_network_is_a_plain_mlp_on_ones(activation: str):
    model = TwoHotMLP(7, 12, activation, generator=seeded(), dtype=torch.float64)
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    ones = torch.nn.functional.one_hot(pairs, 7).double().flatten(1)
    weight = torch.cat((model.left, model.right)).T
    assert model.hidden_bias is not None
    wanted = ACTIVATED[activation](ones @ weight.T + model.hidden_bias) @ model.readout.T + model.output_bias
    torch.testing.assert_close(model(pairs), wanted)
    assert float(weight.detach().abs().max()) <= 1 / math.sqrt(14)


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


def textbook(model: DeepTransformer, pair: list[int]) -> torch.Tensor:
    """Pre-norm blocks on three tokens, one query at a time, each over the tokens up to it."""

    def norm(x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    normal = norm if isinstance(model.before_readout, torch.nn.LayerNorm) else lambda x: x
    x = model.embedding[[*pair, model.p]] + model.position
    for block in model.blocks:
        assert isinstance(block, Block)
        width = x.shape[1] // block.heads
        q, k, v = (normal(x) @ matrix.T for matrix in (block.query, block.key, block.value))
        found = torch.zeros_like(x)
        for t in range(3):
            for h in range(block.heads):
                s = slice(h * width, (h + 1) * width)
                shares = torch.softmax(k[: t + 1, s] @ q[t, s] / math.sqrt(width), 0)
                found[t, s] = shares @ v[: t + 1, s]
        x = x + found @ block.attention_output.T
        x = x + torch.relu(normal(x) @ block.expand.T) @ block.contract.T
    return normal(x[-1]) @ (model.embedding[: model.p] if model.readout is None else model.readout).T


ONE_BLOCK = {"layers": 1, "norm": False, "tied": False, "activation": "relu"}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_deep_transformer_is_the_textbook_token_by_token(layers: int, norm: bool, tied: bool):
    shape = Shape(12, 3, layers=layers, norm=norm, tied=tied, activation="relu")
    model = DeepTransformer(5, 12, 3, layers=layers, norm=norm, tied=tied, generator=seeded(), dtype=torch.float64)
    model.requires_grad_(False)
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    for pair, logits in zip(pairs.tolist(), model(pairs), strict=True):
        torch.testing.assert_close(logits, textbook(model, pair))
    made = NETWORKS["transformer"].make(5, shape, seeded(), torch.float64)
    assert isinstance(made, ModularTransformer) == (shape.given() == ONE_BLOCK)


def test_one_plain_block_is_the_modular_transformer():
    one = ModularTransformer(7, 12, 3, generator=seeded(), dtype=torch.float64)
    deep = DeepTransformer(7, 12, 3, generator=seeded(), dtype=torch.float64)
    inner = {name.removeprefix("blocks.0."): value for name, value in deep.state_dict().items()}
    one.load_state_dict(inner)
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    torch.testing.assert_close(one(pairs), deep(pairs))


def test_gru_and_lstm_read_bit_by_bit():
    """Torch's own cells, one step at a time from a state of zeros."""
    bits = 2 * torch.randint(0, 2, (6, 5), generator=seeded()).double() - 1
    for name, kind in (("gru", torch.nn.GRUCell), ("lstm", torch.nn.LSTMCell)):
        model = Recurrent(name, 8, 2, generator=seeded(), dtype=torch.float64)
        cell = kind(1, 8, dtype=torch.float64)
        cell.load_state_dict({key.removesuffix("_l0"): value for key, value in model.cell.state_dict().items()})
        state = None
        for bit in bits.T:
            state = cell(bit[:, None], state)
        assert state is not None
        last = state[0] if isinstance(state, tuple) else state
        torch.testing.assert_close(model(bits), model.output(last))
        assert float(next(model.cell.parameters()).detach().abs().max()) <= 1 / math.sqrt(8)


def test_small_cnn_is_its_formula_and_its_filters_have_no_scale():
    """In training mode each channel has mean 0 and variance 1 over the batch: filters × 8 change no output."""
    images = torch.randn(30, 64, generator=seeded(), dtype=torch.float64)
    model = SmallCNN(8, 4, 10, generator=seeded(), dtype=torch.float64).requires_grad_(False)
    maps = images.reshape(30, 1, 8, 8)
    for filters in (model.first, model.second):
        patches = torch.nn.functional.unfold(maps, 3, padding=1)
        side = maps.shape[-1]
        maps = (filters.flatten(1) @ patches).reshape(30, len(filters), side, side)
        mean, spread = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True, unbiased=False)
        maps = ((maps - mean) / (spread + 1e-5).sqrt()).clamp(min=0)
        maps = maps.reshape(30, len(filters), side // 2, 2, side // 2, 2).amax((3, 5))
    torch.testing.assert_close(model(images), model.output(maps.flatten(1)))
    before = model(images)
    model.first.mul_(8)
    model.second.mul_(8)
    torch.testing.assert_close(model(images), before, rtol=1e-3, atol=1e-4)


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
        assert name.startswith("norms.") or not torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_every_type_starts_from_the_same_numbers(make):
    exact, single = make(generator=seeded(), dtype=torch.float64), make(generator=seeded())
    for name, value in exact.state_dict().items():
        assert torch.equal(value.to(single.state_dict()[name].dtype), single.state_dict()[name])


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
        (lambda: ModularMLP(5, combine="minus"), "combine='minus'"),
        (lambda: ModularMLP(5, tables=3), "tables=3"),
        (lambda: ModularMLP(5, activation="relus"), "activation='relus': did you mean 'relu'"),
        (lambda: TwoHotMLP(5, 0), "width=0"),
        (lambda: DeepTransformer(5, 8, 4, layers=0), "layers=0"),
        (lambda: DeepTransformer(5, 8, 3), "heads=3"),
        (lambda: Recurrent("rnn", 4, 2), "cell='rnn'"),
        (lambda: SmallCNN(3, 4, 10), "side=3: expected at least 4"),
        (lambda: check_shape("mlp", Shape(layers=2)), "layers=2: model=mlp takes activation, combine, norm, tables"),
        (lambda: check_shape("matrix-mlp", Shape(64, combine="sum")), "combine=sum: model=matrix-mlp takes activation"),
        (lambda: check_shape("mlp", Shape(60, combine="matrix")), "width=60"),
        (lambda: check_shape("mlp", Shape(tables=3)), "tables=3: expected 1 or 2"),
        (lambda: check_shape("mlp", Shape(combine="minus")), "combine='minus'"),
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
