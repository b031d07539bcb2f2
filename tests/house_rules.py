"""The rules of the house as functions of source text, so that test_architecture.py can show each of them fail."""

import argparse
import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

PACKAGE = "groktimizer"
LONGEST_FILE = 400
LONGEST_FUNCTION = 45  # of nine in ten
LEAST_TESTS = 1 / 3  # lines of tests for each line of source
GROUND = frozenset({"ground"})

# room -> the rooms it may import beside the ground, on which everyone may stand and which stands on nothing. An arrow
# that nothing uses is taken out again; rooms that are still to be built keep theirs.
ALLOWED: Mapping[str, frozenset[str]] = {
    room: frozenset(below.split())
    for room, below in {
        "ground": "",
        "dynamics": "",
        "penalties": "",
        "optim": "dynamics penalties",
        "measures": "",
        "theory": "dynamics penalties measures",
        "data": "",
        "models": "",
        "tasks": "theory models data measures",
        "peers": "optim penalties",
        "training": "tasks measures",
        "results": "",
        "sweeps": "training results peers tasks",
        "studies": "sweeps tasks peers results theory measures",
        "papers": "sweeps tasks results theory measures",
        "report": "results measures",
        "estimators": "optim penalties models measures",
        "integrations": "optim measures",
        "benches": "estimators data results measures",
        "cli": "benches studies papers report sweeps results training peers penalties tasks data theory measures",
        "__init__": "ground optim penalties",
        "__main__": "cli",
    }.items()
}

# Inside theory: one clock, and problems side by side that know nothing of each other.
SIDE_BY_SIDE = ("ridge", "lasso", "low_rank", "linear", "networks", "random_features")
THEORY: Mapping[str, frozenset[str]] = {"clock": frozenset(), **dict.fromkeys(SIDE_BY_SIDE, frozenset({"clock"}))}

# What `import groktimizer` must not pull in beyond torch's own imports.
HEAVY = frozenset(
    "pandas polars matplotlib ray sklearn pyarrow rich scipy yaml pytorch_optimizer lightning transformers numba "
    "skglm accelerate peft curvlinops pytabkit scikit_posthocs seaborn skops pydantic".split()
)


def side_room_of(module: str) -> str:
    """'groktimizer.theory.ridge.advice' -> 'ridge'; '' outside theory and for its door."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "theory" else ""


def room_of(module: str) -> str:
    """'groktimizer.optim.switch' -> 'optim'; the front door 'groktimizer' -> '__init__'."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def module_name(path: Path, root: Path) -> str:
    """Dotted name of a file under `root`, the folder that holds the package."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _prefix(node: ast.ImportFrom, package: str) -> str:
    """What `from ... import` names before the word import; `package` is what a leading dot means."""
    base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])


def _targets(node: ast.AST, package: str) -> Iterator[str]:
    """Dotted names a node imports; `package` is what a leading dot means."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        prefix = _prefix(node, package)
        # `from groktimizer import optim` names a room; `from groktimizer.optim import x` names one already.
        # So does `from groktimizer.theory import ridge`, among the rooms of theory.
        halls = (PACKAGE, f"{PACKAGE}.theory")
        yield from (f"{prefix}.{alias.name}" if prefix in halls else prefix for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
            yield node.args[0].value


def imports_of_files(files: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """For each file the files of the package that it imports, wherever in it the imports stand.

    `files` holds, by dotted name, the source and whether it is a package's `__init__`.
    """
    graph: dict[str, set[str]] = {}
    for module, (source, is_package) in files.items():
        package = module if is_package else module.rpartition(".")[0]
        found: set[str] = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):  # `from groktimizer.optim import noise` names a file
                prefix = _prefix(node, package)
                named = [f"{prefix}.{alias.name}" for alias in node.names]
                found |= {name if name in files else prefix for name in named}
            else:
                found |= set(_targets(node, package))
        graph[module] = {target for target in found if target in files and target != module}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    """Files that import each other in a circle, and those between two circles."""
    left = {module: set(targets) for module, targets in graph.items()}
    while True:
        imported = {target for targets in left.values() for target in targets}
        ends = {module for module, targets in left.items() if not targets or module not in imported}
        if not ends:
            return sorted(left)
        left = {module: targets - ends for module, targets in left.items() if module not in ends}


def unused_arrows(graph: Mapping[str, set[str]]) -> list[str]:
    """Arrows of the table that no import uses, between rooms that there are."""
    used = {(room_of(module), room_of(target)) for module, targets in graph.items() for target in targets}
    rooms = {room_of(module) for module in graph}
    return sorted(
        f"{room} may import {wanted} and does not"
        for room in rooms & ALLOWED.keys()
        for wanted in ALLOWED[room] & rooms
        if (room, wanted) not in used
    )


def forbidden_arrows(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Imports of `module` that the table does not allow, wherever in the file they stand."""
    room = room_of(module)
    allowed = ALLOWED.get(room)
    if allowed is None:
        return [f"{module}: '{room}' is not a room of the table"]
    package = module if is_package else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        for target in _targets(node, package):
            if target.split(".")[0] != PACKAGE:
                continue
            wanted = room_of(target)
            own = wanted == room and room != "__init__"
            if not (own or wanted in allowed or (wanted in GROUND and room not in GROUND)):
                found.append(f"{module}:{getattr(node, 'lineno', 0)}: {room} may not import {wanted}")
    return sorted(set(found))


def forbidden_side_arrows(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Imports between the rooms of theory that `THEORY` does not allow."""
    own = side_room_of(module)
    if not own:
        return []
    if own not in THEORY:
        return [f"{module}: '{own}' is not a room of theory"]
    package = module if is_package else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        for wanted in map(side_room_of, _targets(node, package)):
            if wanted not in {"", own} | THEORY[own]:
                found.append(f"{module}:{getattr(node, 'lineno', 0)}: {own} may not import {wanted}")
    return sorted(set(found))


def unwanted_calls(source: str, module: str) -> list[str]:
    """Prints outside the command line, and `hasattr` anywhere."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            name = node.attr
        if name == "hasattr" or (name in {"print", "stdout", "stderr"} and room_of(module) != "cli"):
            found.append(f"{module}:{getattr(node, 'lineno', 0)}: {name}")
    return found


def too_long(source: str, name: str) -> list[str]:
    """The file's name and length when it has more lines than the house allows."""
    lines = source.count("\n") + (not source.endswith("\n"))
    return [f"{name}: {lines} lines"] if lines > LONGEST_FILE else []


def silenced_errors(source: str, module: str) -> list[str]:
    """`except Exception` and a bare `except`, which hide mistakes of ours."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            names = {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else set()
            if node.type is None or "Exception" in names:
                found.append(f"{module}:{node.lineno}")
    return found


def lengths_of_functions(source: str) -> list[int]:
    """Lines of each function, its docstring not counted."""
    lengths: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
            text = ast.get_docstring(node, clean=False)
            lengths.append(node.end_lineno - node.lineno + 1 - (text.count("\n") + 1 if text else 0))
    return lengths


def undocumented_rooms(package: Path) -> list[str]:
    """Folders with Python files whose `__init__.py` is missing or does not say what the room holds."""
    found: list[str] = []
    for folder in sorted({file.parent for file in package.rglob("*.py")}):
        door = folder / "__init__.py"
        if not door.exists() or not ast.get_docstring(ast.parse(door.read_text())):
            found.append(str(folder))
    return found


def _signature(function: object) -> str:
    """Names, kinds and defaults; annotations are the type checker's business."""
    error = inspect.isclass(function) and issubclass(function, Exception)
    if not callable(function) or error or getattr(function, "_is_protocol", False):
        return ""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def doors(package: ModuleType, *rooms: str) -> list[ModuleType]:
    """The package and those of its rooms, and of their rooms, that say in `__all__` what they show."""
    found = [package]
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if each.ispkg and room_of(each.name) in rooms:
            door = importlib.import_module(each.name)
            found += [door] if getattr(door, "__all__", None) else []
    return found


def public_api(*modules: ModuleType) -> str:
    """Each door's name and what it shows, see `_shown`."""
    return "\n".join(f"# {module.__name__}\n{_shown(module)}" for module in modules)


def _shown(module: ModuleType) -> str:
    """One line per public name and per public method or property that its class defines itself."""
    lines: list[str] = []
    for name in sorted(module.__all__):
        value = getattr(module, name)
        lines.append(f"{name}{_signature(value)}")
        if inspect.isclass(value):
            for member, what in sorted(vars(value).items()):
                if not member.startswith("_"):
                    lines.append(f"{name}.{member}{'' if isinstance(what, property) else _signature(what)}")
    return "\n".join(lines) + "\n"


def command_line(parser: argparse.ArgumentParser) -> str:
    """Commands, arguments, options, choices and defaults, read off the parser."""
    lines = [f"{parser.prog}: {parser.description}"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            lines += ["", *(command_line(sub) for sub in action.choices.values())]
        elif not isinstance(action, argparse._HelpAction):
            name = " ".join(action.option_strings) or str(action.metavar)
            choices = f" of {'|'.join(map(str, action.choices))}" if action.choices else ""
            value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or ''}".rstrip()
            lines.append(f"  {name}{value}{choices} [{action.default}] {action.help}")
    return "\n".join(lines) + "\n"


def lines_of(folder: Path) -> int:
    """Lines of all Python files below a folder."""
    return sum(path.read_text().count("\n") for path in folder.rglob("*.py"))


if __name__ == "__main__":  # how large the rooms are: uv run python tests/house_rules.py
    source = Path(__file__).parents[1] / "src" / PACKAGE
    for room in sorted(path for path in source.iterdir() if path.is_dir() and lines_of(path)):
        sys.stdout.write(f"{room.name:<12} {lines_of(room):>6,}\n")
    sys.stdout.write(f"{'all':<12} {lines_of(source):>6,}\n")
