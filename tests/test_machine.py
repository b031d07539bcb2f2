"""What a run needs, known before anything is allocated: evaluations that are never listed, memory that suffices."""

import pytest

from groktimizer.ground.memory import ADDRESSES, free_memory
from groktimizer.tasks import TASKS, make_task
from groktimizer.training import check_machine
from groktimizer.training.schedule import evaluation_steps, measure_steps


@pytest.mark.parametrize("every", [1, 7, "log"])
def test_a_schedule_is_never_written_out(every):
    """10^15 steps cost nothing; where a set can be written out, both have the same members and successors."""
    long, short = evaluation_steps(10**15, every), evaluation_steps(500, every)
    assert 10**15 in long and 0 in long and 10**15 + 1 not in long and len(measure_steps(long)) < 130
    written = sorted(set(short))
    assert list(short) == written and len(short) == len(written)
    for point in [*range(-1, 502), 3.5, 499.5]:
        assert (point in short) == (point in written)
        assert short.at_or_after(point) == next((step for step in written if step >= point), None)


@pytest.mark.parametrize("name", TASKS)
def test_the_least_memory_is_below_what_a_run_takes(name, monkeypatch):
    """At the default sizes: at least the parameters and their gradients, at most the machine that runs this test."""
    task = make_task(name)
    if name != "mnist":  # whose images may not be here
        parameters = sum(p.nbytes for p in task.build(0).model.parameters())
        assert task.least_bytes() > parameters
    assert task.least_bytes() < 4e8
    monkeypatch.setattr("groktimizer.training.machine.free_memory", lambda: task.least_bytes() - 1)
    with pytest.raises(ValueError, match=f"{name} takes at least"):
        check_machine(task, 9, 9)
    monkeypatch.setattr("groktimizer.training.machine.free_memory", lambda: 10 * task.least_bytes())
    assert check_machine(task, 9, 9).type == "cpu"


def test_free_memory_is_the_least_of_machine_and_own_limit():
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    psutil = pytest.importorskip("psutil", reason="psutil, which reads memory, is not installed")
    before, taken = resource.getrlimit(resource.RLIMIT_AS), psutil.Process().memory_info().vms
    assert 10**8 < free_memory() < ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**27, before[1]))
    try:
        assert free_memory() == pytest.approx(2**27, abs=2**25)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
