"""Halves and doubles each number that the optimizer has by default, and runs the tests that compute by hand.

`python tests/mutants.py [NAME ...]` prints what no test notices and exits 1 if there is anything. A number is a literal
in an upper-case constant of a module, or in the default of a field or an argument.
"""

import ast
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "groktimizer"
JUDGES = [str(file) for file in sorted(TESTS.glob("test_optim_numbers*.py"))]
EXEMPT = {
    "BLOCK": "elements in a block: speed alone",
    "CHUNK": "tensors in a compiled call: speed alone",
    "LARGE": "entries of a tensor that is compiled for: speed alone",
    "PAYS_ON_DEVICE": "entries moved before that: speed alone",
    "PAYS": "entries moved before numba is loaded: speed alone",
    "THREAD": "entries of a thread: speed alone",
    "VERSION": "of a format, not of a run",
    "ROW": "entries that are computed alike, wherever threads begin: speed alone",
    "MATRIX": "a matrix has two dimensions",
    "Scope.size": "a process alone has no collective to use it",
    "Control.switch_step": "-1 or -2, either is not yet",
    "Control.finish_step": "same",
    "Scalars.beta2": "stands for what the Euclidean step does not use",
    "Scalars.correction": "same",
    "Scalars.eps": "same",
}
TWIN = "reference.py"  # writes the numbers out once more, so that they are checked


def defaults(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Constants, fields and arguments, with the expressions that they have by default."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper():
            yield ast.unparse(node.targets[0]).strip("()"), node.value
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and field.value:
                    yield f"{node.name}.{ast.unparse(field.target)}", field.value
        elif isinstance(node, ast.FunctionDef):
            for value in [*node.args.defaults, *node.args.kw_defaults]:
                if value:
                    yield node.name, value


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """What is changed, and the source with the change."""
    lines = source.encode().splitlines(keepends=True)
    for name, expression in defaults(ast.parse(source)):
        for node in ast.walk(expression):
            if not isinstance(node, ast.Constant):
                continue
            number = node.value
            if name in EXEMPT or isinstance(number, bool) or not isinstance(number, (int, float)) or not number:
                continue  # 0 has neither half nor double
            for other in (type(number)(number / 2), number * 2):
                changed, row = list(lines), node.lineno - 1
                changed[row] = lines[row][: node.col_offset] + repr(other).encode() + lines[row][node.end_col_offset :]
                yield f"{name}: {number} -> {other}", b"".join(changed).decode()


def noticed(root: Path) -> bool:
    """Whether the tests fail with the package in `root`, in a process of their own."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.path.insert(0, str(root))
        sys.dont_write_bytecode = True
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--noconftest", "--assert=plain", *JUDGES]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != pytest.ExitCode.OK


def main(wanted: list[str]) -> int:
    """Run them all, or those whose names hold one of the words."""
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)], lr=1.0).step()  # torch imports half of itself, once for all processes to come
    count, survivors = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, copy := Path(folder) / "groktimizer", ignore=shutil.ignore_patterns("__pycache__"))
        if noticed(copy.parent):
            sys.stdout.write("the tests fail as it is\n")
            return 1
        for file in sorted((copy / "optim").glob("*.py")):
            source = file.read_text()
            for what, changed in mutants(source):
                if file.name == TWIN or (wanted and not any(word in what for word in wanted)):
                    continue
                file.write_text(changed)
                count += 1
                if not noticed(copy.parent):
                    survivors.append(f"{file.name} {what}")
                    sys.stdout.write(f"survives: {survivors[-1]}\n")
                    sys.stdout.flush()
            file.write_text(source)
    sys.stdout.write(f"{count} mutants, {len(survivors)} survive\n")
    return 1 if survivors or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
