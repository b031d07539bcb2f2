"""Many cells on a Ray cluster: one task a job, retried where a worker or a node dies."""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groktimizer.ground.checks import not_negative
from groktimizer.ground.errors import UserError, warn
from groktimizer.ground.extras import require
from groktimizer.ground.own import COLON
from groktimizer.sweeps.cells import Cell, Clock, Training
from groktimizer.sweeps.executors.protocol import Done, Job, Telling, computed

RETRIES = 5  # of a job whose worker or node dies
AHEAD = 4  # jobs in Ray's hands for each processor: enough to keep it busy, few enough to stop soon
WAIT = 1.0  # seconds between two looks
PATIENCE = 5.0  # seconds until an address counts as silent
PACKAGE = Path(__file__).parents[2]
QUIET = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


TOKENS = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}


@dataclass(frozen=True)
class Ray:
    """A Ray cluster.

    Attributes:
        address: "local" starts one on this machine, "auto" finds the one that runs here, or HOST:PORT of its head.
        workers: Processors of a local one.
        gpus: GPUs that a job asks for; a fraction shares one.
    """

    address: str = "local"
    workers: int = 1
    gpus: float = 0.0

    def run(self, jobs: Sequence[Job], keep: Callable[[Done], None], tell: Telling) -> None:
        """Keep the cluster busy until every cell is done or lost.

        A run goes on from its saved state where the store is on a folder that all nodes share, else it begins anew.

        Args:
            jobs: What there is to do, in order.
            keep: Called with every cell.
            tell: Not called: tasks of Ray tell nothing before they end.
        """
        del tell
        not_negative(gpus=self.gpus)
        prepare_environment()
        ray = require("ray", extra="ray")
        with _staged(cell for job in jobs for cell in job.cells) as files, _connected(ray, self, files):
            _warn_of_what_is_missing(ray.nodes(), self.gpus)
            task = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=RETRIES)(_work)
            queue, pending = list(reversed(jobs)), dict[Any, Job]()
            while queue or pending:
                room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
                while queue and len(pending) < room:
                    job = queue.pop()
                    pending[task.remote(job)] = job
                ready, _ = ray.wait(list(pending), num_returns=1, timeout=WAIT)
                if not ready:
                    _warn_of_what_is_missing(ray.nodes(), self.gpus)  # once: Python tells equal warnings a single time
                for reference in ready:
                    for done in _got(ray, reference, pending.pop(reference)):
                        keep(done)


def prepare_environment() -> None:
    """Set what Ray reads when it is imported; what the user has set stays.

    A head node started where a token lies asks for it, while a program that joins shows it only if it is told to.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    lies = bool(TOKENS & os.environ.keys()) or (Path.home() / ".ray" / "auth_token").exists()
    if lies and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        if "ray" in sys.modules:
            warn("ray was imported before: it may not show the token that lies there; set RAY_AUTH_MODE=token first")


def _warn_of_what_is_missing(nodes: Iterable[Mapping[str, Any]], gpus: float) -> None:
    """Say that no node can take a job now; one that can may still join."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(has.get("CPU", 0) >= 1 and has.get("GPU", 0) >= gpus for has in alive):
        told = ", ".join(f"{has.get('CPU', 0):g} processors and {has.get('GPU', 0):g} GPUs" for has in alive)
        warn(
            f"no node of the cluster has the processor and the {gpus:g} GPUs that a job asks for ({told or 'none'}): "
            "waiting for one that joins; Ctrl-C ends, and the same command goes on"
        )


def _work(job: Job) -> list[Done]:
    """Compute a job, in a process of the cluster."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shared = all(path.parent.is_dir() for path in job.checkpoints)
        files = job.checkpoints if shared else tuple(Path(folder) / path.name for path in job.checkpoints)
        return list(computed(replace(job, checkpoints=files), lambda _: None))


def _got(ray: Any, reference: Any, job: Job) -> Iterator[Done]:
    try:
        found = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = " ".join(f"{error}".split())[:200]
        for cell in job.cells:
            yield Done(cell, None, f"lost on the cluster ({type(error).__name__}: {reason})", lost=True)
        return
    yield from found


@contextlib.contextmanager
def _connected(ray: Any, asked: Ray, files: Path) -> Generator[None]:
    """Join the cluster, or start one; ship the package and the user's own modules.

    Args:
        ray: The module.
        asked: Where to.
        files: Folder with the user's own modules.

    Yields:
        Nothing.

    Raises:
        UserError: If the address does not answer.
    """
    environment = {"py_modules": [str(PACKAGE)], "working_dir": str(files), "env_vars": {"OPENBLAS_NUM_THREADS": "1"}}
    options: dict[str, Any] = {"runtime_env": environment, "log_to_driver": False, "logging_level": "error"}
    if asked.address == "local":
        options |= {"address": "local", "num_cpus": asked.workers, "include_dashboard": False}
    else:
        _check_address(asked.address)
        options["address"] = asked.address
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(f"{error}".split())[:200]
        raise UserError(f"--ray-address {asked.address}: no cluster answers ({reason}); expected {EXPECTED}") from error
    try:
        yield
    finally:
        ray.shutdown()


EXPECTED = "auto, local, or HOST:PORT of a head node (`ray start --head`)"


def _check_address(address: str) -> None:
    """Refuse at once what nobody listens to; Ray itself would wait for minutes."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise UserError(f"--ray-address {address!r}: expected {EXPECTED}")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise UserError(f"--ray-address {address}: nobody answers ({error}); expected {EXPECTED}") from error


@contextlib.contextmanager
def _staged(cells: Iterable[Cell]) -> Generator[Path]:
    """A folder with the modules of the user's own that the cells name.

    Args:
        cells: All of them.

    Yields:
        The folder.
    """
    names = {name for cell in cells for name in _named(cell)}
    with tempfile.TemporaryDirectory() as folder:
        for top in {name.partition(COLON)[0].partition(".")[0] for name in names if COLON in name}:
            file = Path(getattr(sys.modules.get(top), "__file__", None) or "")
            if file.name == "__init__.py":
                shutil.copytree(file.parent, Path(folder) / top, ignore=shutil.ignore_patterns("__pycache__"))
            elif file.name:
                shutil.copy(file, folder)
        yield Path(folder)


def _named(cell: Cell) -> tuple[str, ...]:
    if isinstance(cell, Training):
        return cell.spec.task, cell.spec.optimizer
    return (cell.task,) if isinstance(cell, Clock) else ()
