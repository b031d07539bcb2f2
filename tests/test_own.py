"""Tasks and optimizers of the user's own: the page that tells how, followed literally; one line for each mistake."""

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from groktimizer.cli import main
from groktimizer.cli.compare import requested
from groktimizer.cli.parser import build_parser
from groktimizer.ground.errors import UserError
from groktimizer.peers import resolve
from groktimizer.results import Store
from groktimizer.sweeps import execute, make_spec
from groktimizer.tasks import Batch, Problem, RidgeTask, Task, cross_entropy, make_problem, make_task
from groktimizer.training import train
from pages import ROOT, blocks

PAGE = (ROOT / "docs" / "add-your-own.md").read_text()
SAVED = re.compile(r"[Ss]ave (?:it|this) as `(\w+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^groktimizer (.+)$", re.MULTILINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the files of the page, and a random.py that nobody names."""
    monkeypatch.chdir(tmp_path)
    for name, source in SAVED.findall(PAGE):
        (tmp_path / name).write_text(source)
    (tmp_path / "random.py").write_text("open('ran', 'w')\nraise SystemExit(9)\n")
    for name in ("parity", "mine", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.slow
def test_the_page_followed_literally(here: Path):
    """As an installed program does, for which the working directory is no place of modules."""
    commands = COMMANDS.findall("\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)))
    assert [len(SAVED.findall(PAGE)), len(commands), len(blocks(PAGE))] == [2, 3, 5]
    for command in commands:
        assert main(command.split()) == 0
    assert not (here / "ran").exists() and str(here) not in sys.path
    names = {
        (record.spec["task"]["name"], record.spec["optimizer"]["name"])
        for record in Store("groktimizer-results").query()
    }
    assert {("parity:Parity", name) for name in ("groktimizer", "adamw", "mine:nadam", "mine:TUNABLE")} == names


def test_a_changed_file_is_another_run(here: Path):
    first = make_spec("parity:Parity", "adamw", steps=5)
    assert make_spec("parity:Parity", "adamw", steps=5).identity == first.identity
    with open(here / "parity.py", "a") as file:
        file.write("\nX = 1\n")
    assert make_spec("parity:Parity", "adamw", steps=5).identity != first.identity
    assert "own" not in make_spec("ridge", "adamw").canonical()


def test_a_changed_file_behind_one_that_hands_it_on_is_another_run(here: Path):
    """In a package whose __init__ only names them: a task, a function, and a Peer by what it builds with."""
    package = here / "handed"
    package.mkdir()
    (package / "__init__.py").write_text("from .tasks import Parity\nfrom .optimizers import TUNABLE, nadam\n")
    for name, source in (("tasks", "parity.py"), ("optimizers", "mine.py")):
        (package / f"{name}.py").write_text((here / source).read_text())

    def identities() -> list[str]:
        for name in ("handed", "handed.tasks", "handed.optimizers"):
            sys.modules.pop(name, None)
        pairs = (("handed:Parity", "adamw"), ("ridge", "handed:nadam"), ("ridge", "handed:TUNABLE"))
        return [make_spec(task, optimizer, steps=5).identity for task, optimizer in pairs]

    first = identities()
    assert identities() == first
    (package / "tasks.py").write_text((here / "parity.py").read_text() + "\nX = 1\n")
    assert [a == b for a, b in zip(identities(), first, strict=True)] == [False, True, True]
    (package / "optimizers.py").write_text((here / "mine.py").read_text() + "\nX = 1\n")
    assert [a == b for a, b in zip(identities(), first, strict=True)] == [False, False, False]
    own = make_spec("parity:Parity", "adamw").own["task"]
    assert own == hashlib.sha256((here / "parity.py").read_bytes()).hexdigest()[:16]


def test_a_comparison_is_another_one_with_another_grid(here: Path):
    words = "compare parity:Parity --optimizers groktimizer --tune --tune-methods mine:TUNABLE --steps 50".split()
    first = requested(build_parser().parse_args(words)).identity
    assert requested(build_parser().parse_args(words)).identity == first
    (here / "mine.py").write_text((here / "mine.py").read_text().replace("3e-2", "4e-2"))
    sys.modules.pop("mine")
    assert requested(build_parser().parse_args(words)).identity != first


def test_a_package_that_is_missing_in_code_of_the_users_own_is_theirs(here: Path, refused):
    (here / "broken.py").write_text("import nowhere_to_be_found\n")
    told = refused(["run", "broken:Parity"])
    assert "nowhere_to_be_found, which your own code needs (" in told and "broken.py:1" in told
    assert "groktimizer[lab]" not in told


def test_entry_points_are_names(here: Path, tmp_path, monkeypatch, capsys):
    about = tmp_path / "site" / "theirs-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    toml = PAGE.partition("```toml\n")[2].partition("```")[0]
    (about / "entry_points.txt").write_text(re.sub(r'"|project\.entry-points\.', "", toml))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert make_task("parity", {"k": "3"}).options() == {"n": 8, "k": 3, "n_train": 128}
    assert resolve("nadam", {"lr": "0.1"})[1] == {"lr": 0.1, "weight_decay": 0.0}
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert "  parity  " in told and "  nadam  " in told
    with pytest.raises(UserError, match="did you mean 'parity'"):
        make_task("pariti")


def test_a_bug_of_the_users_own_shows_its_file_and_line(here: Path, capsys, tmp_path):
    source = (here / "parity.py").read_text().replace("order = torch", "order = undefined * torch")
    (here / "broken.py").write_text(source)
    line = source[: source.index("undefined")].count("\n") + 1
    assert main(["run", "broken:Parity", "--steps", "3", "--out", str(tmp_path / "o")]) == 70
    told = capsys.readouterr().err
    assert f"broken.py:{line} in build" in told and "mistake of ours" not in told and told.count("\n") == 1
    outcome = execute([make_spec("broken:Parity", "adamw", steps=3)], Store(tmp_path / "o"), workers=1)[0]
    assert f"NameError: name 'undefined' is not defined ({here.name}/broken.py:{line} in build)" in str(outcome.error)
    (here / "broken.py").write_text("def (")
    sys.modules.pop("broken")
    assert main(["run", "broken:Parity"]) == 70
    assert "broken.py:1" in capsys.readouterr().err


WRONG = """
from dataclasses import dataclass
from groktimizer.tasks import Task

class A(Task): pass
B = 3

@dataclass(frozen=True)
class C(Task):
    n: int = 1

class D(C):
    memorised = generalised = build = None

@dataclass(frozen=True)
class E(D):
    k: list[int] = ()

@dataclass(frozen=True)
class F(D):
    k: "Nothing" = 1

def h(): pass
def i(model, lr: "Nothing" = 1.0): pass
def f(model, lr): pass
def g(model, lr=1.0): return model
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "nothing:Here"], "there is no nothing.py or nothing/ in "),
        (["run", "parity:Party"], "parity.py has no Party"),
        (["run", "parity:"], "expected module:Name, such as mine:Parity"),
        (["run", "../parity:Parity"], "expected module:Name"),
        (["run", "random:Task"], "random.py has no Task"),
        (["run", "broken:A"], "expected a frozen dataclass derived from groktimizer.tasks.Task"),
        (["run", "broken:B"], "expected a frozen dataclass derived from groktimizer.tasks.Task"),
        (["run", "broken:C"], "C does not say build, generalised, memorised"),
        (["run", "broken:E"], "option k is a list, expected bool, int, float or str"),
        (["run", "broken:F"], "task 'broken:F': the types of its options cannot be read (name 'Nothing' is not"),
        (["run", "parity:Parity", "--optimizer", "broken:h"], "takes no argument, expected the network as the first"),
        (["run", "parity:Parity", "--optimizer", "broken:i"], "its arguments cannot be read (name 'Nothing' is not"),
        (["run", "parity:Parity", "--set", "q=1"], "unknown option 'q'"),
        (["run", "parity:Parity", "--set", "k=x"], "k='x': expected a whole number"),
        (["run", "parity:Parity", "--set", "n_train=0"], "Parity, train: 0 samples"),
        (["run", "parity:Parity", "--optimizer", "broken:f"], "option lr needs a default"),
        (["run", "parity:Parity", "--optimizer", "broken:B"], "expected a function from a network to an optimizer"),
        (["run", "parity:Parity", "--optimizer", "broken:g"], "gave a MLP, expected a torch.optim.Optimizer"),
        (["compare", "ridge", "--optimizers", "adamw", "--tune", "--tune-methods", "mine:nadam"], "has no tuning grid"),
    ],
)  # fmt: skip
def test_what_is_none_of_it_is_one_line(words, told, here: Path, refused):
    (here / "broken.py").write_text(WRONG)
    assert told in refused(words)
    assert not (here / "ran").exists()


class Wrong(RidgeTask):
    """Ridge whose problem is changed before it is given."""

    def build(self, seed: int, **options: Any) -> Problem:
        return CHANGES[self.name](super().build(seed, **options))


def changed(problem: Problem, **changes: object) -> Problem:
    return Problem(**{**vars(problem), **changes})  # pyright: ignore[reportArgumentType]


def labelled(label: int) -> Any:
    """Three classes, and one label."""
    network, batch = torch.nn.Linear(40, 3), Batch(torch.zeros(2, 40), torch.tensor([0, label]))
    return lambda p: changed(p, model=network, train=batch, test=batch)


CHANGES = {
    "no samples": lambda p: changed(p, train=Batch(p.train.inputs[:0], p.train.targets[:0])),
    "no test samples": lambda p: changed(p, test=Batch(p.train.inputs[:0], p.train.targets[:0])),
    "fewer targets": lambda p: changed(p, train=Batch(p.train.inputs, p.train.targets[1:])),
    "a NaN": lambda p: changed(p, train=Batch(p.train.inputs * torch.nan, p.train.targets)),
    "an infinity": lambda p: changed(p, test=Batch(p.train.inputs, p.train.targets / 0)),
    "a label above": labelled(3),
    "a label below": labelled(-1),
    "no batch": lambda p: changed(p, batch_size=0),
    "no problem": lambda p: p.model,
    "one number": lambda p: changed(p, test=Batch(p.train.inputs, p.train.targets.sum())),
    "an array": lambda p: changed(p, train=Batch(p.train.inputs.numpy(), p.train.targets)),
    "no Batch": lambda p: changed(p, train=(p.train.inputs, p.train.targets)),
    "another width": lambda p: changed(p, model=torch.nn.Linear(39, 1)),
    "another width of classes": lambda p: changed(labelled(1)(p), model=torch.nn.Linear(39, 3)),
    "targets that do not fit": lambda p: changed(p, objective=lambda outputs, targets: (outputs[1:] - targets).sum()),
    "a loss for each": lambda p: changed(p, objective=lambda outputs, targets: outputs - targets),
    "two outputs": lambda p: changed(p, model=torch.nn.LSTM(40, 3)),
    "no column": lambda p: changed(p, measure=lambda _: {"train_loss": 1.0}),
}
TOLD = {
    "no samples": "no samples, train: 0 samples",
    "no test samples": "no test samples, test: 0 samples",
    "fewer targets": "train: 10 inputs and 9 targets",
    "a NaN": "train: inputs hold values that are not finite",
    "an infinity": "test: targets hold values that are not finite",
    "a label above": "labels from 0 to 3, the network has 3 outputs",
    "a label below": "labels from -1 to 0, the network has 3 outputs",
    "no batch": "batch_size=0: expected a whole number",
    "no problem": "build gave a LinearModel, expected a Problem",
    "one number": r"test: targets are one number of shape \(\)",
    "an array": "train: inputs are a ndarray, expected a torch.Tensor",
    "no Batch": "train: a tuple, expected a Batch",
    "another width": r"the network, given inputs of shape \(10, 40\) \(torch.float32\): .* cannot be multiplied",
    "another width of classes": r"the network, given inputs of shape \(1, 40\) \(torch.float32\): .* cannot be",
    "targets that do not fit": r"the loss of outputs of shape \(10,\) \(torch.float32\) and targets of shape \(10,\)",
    "a loss for each": r"the loss is of shape \(10,\) \(torch.float32\), expected a tensor of shape \(\): one number",
    "two outputs": "the network gives outputs of type tuple, expected a torch.Tensor",
    "no column": "measure gives no test_loss",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_problem_is_refused_by_one_check_that_all_tasks_pass(name: str):
    task = Wrong(n=10, m=40, name=name)
    with pytest.raises(UserError, match=TOLD[name]) as caught:
        train(task, lambda model: torch.optim.SGD(model.parameters()), steps=1)
    assert "\n" not in str(caught.value)


def test_the_check_leaves_no_trace():
    """Dropout draws nothing and batch statistics stay, in the modes that the network was in."""

    class Traced(RidgeTask):
        def build(self, seed: int, **options: Any) -> Problem:
            layers = torch.nn.Linear(40, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5)
            batch = Batch(torch.ones(2, 40), torch.tensor([0, 2]))
            return changed(
                super().build(seed), model=torch.nn.Sequential(*layers), train=batch, objective=cross_entropy
            )

    task: Task = Traced(n=10, m=40)
    torch.manual_seed(1)
    model, before = make_problem(task, 0).model, torch.get_rng_state()
    torch.manual_seed(1)
    task.build(0)
    assert torch.equal(before, torch.get_rng_state())
    assert all(module.training for module in model.modules()) and not model[1].num_batches_tracked  # pyright: ignore[reportIndexIssue]
