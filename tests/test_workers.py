from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import workers
from bench.errors import DataError
from bench.serve import Say

ROOT = Path(__file__).resolve().parents[1]


def work(job: object, say: Say) -> None:
    """Do what the job of a test asks for."""
    what, argument = job  # ty: ignore[not-iterable]
    JOBS[what](argument, say)


def refuse(argument: str, say: Say) -> None:
    raise DataError(argument)


def crash(argument: None, say: Say) -> None:
    raise ValueError("planted")


def sleep(argument: None, say: Say) -> None:
    say(os.getpid())
    time.sleep(600)


def tick(count: int, say: Say) -> None:
    for _ in range(count):
        time.sleep(0.2)
        say("tick")


def leak(mebibytes: int, say: Say) -> None:
    say("leaking")
    kept = [bytearray(os.urandom(2**20)) for _ in range(mebibytes)]
    time.sleep(600 if kept else 0)


def chatter(lines: int, say: Say) -> None:
    print("first line of all")
    for _ in range(lines):
        print("x" * 127)
    os.write(2, b"from C\n")
    subprocess.run(["echo", "from a child"], check=True)
    say("printed")


def swallow(argument: None, say: Say) -> None:
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def deadlock(blocked: bool, say: Say) -> None:
    """Lock a mutex twice, with the interpreter's lock held: no Python runs in this process any more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM} if blocked else ())
    say(os.getpid())
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


JOBS = {
    "say": lambda argument, say: say(argument),
    "pid": lambda argument, say: say(os.getpid()),
    "kill": lambda argument, say: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda argument, say: os._exit(3),
    "segfault": lambda argument, say: ctypes.string_at(0),
    "raise": crash,
    "refuse": refuse,
    "sleep": sleep,
    "swallow": swallow,
    "deadlock": deadlock,
    "tick": tick,
    "leak": leak,
    "print": chatter,
}


def listen(jobs: list[tuple[str, object]], size: int = 1, **limits: float | None) -> list[object]:
    with workers.Team(work, size=size, limits=workers.Limits(**limits)) as team:  # ty: ignore[invalid-argument-type]
        for number, job in enumerate(jobs):
            team.add(number, job)
        return list(team)


def only_death(messages: list[object]) -> workers.Died:
    (died,) = [m for m in messages if isinstance(m, workers.Died)]
    return died


def done(messages: list[object]) -> set[int]:
    return {m.job for m in messages if isinstance(m, workers.Done)}


def said(messages: list[object]) -> list[object]:
    return [m.content for m in messages if isinstance(m, workers.Said)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_every_job_is_run_and_what_it_says_is_passed_on():
    messages = listen([("say", number) for number in range(5)], size=2)

    assert set(range(5)) == done(messages)
    assert {number: number for number in range(5)} == {
        m.job: m.content for m in messages if isinstance(m, workers.Said)
    }


def test_a_worker_is_kept_warm_for_all_its_jobs_and_for_those_that_are_added_meanwhile():
    pids, more = [], [2, 3]
    with workers.Team(work, size=1) as team:
        team.add(0, ("pid", None))
        team.add(1, ("pid", None))
        for message in team:
            if isinstance(message, workers.Said):
                pids.append(message.content)
            elif more:
                team.add(more.pop(), ("pid", None))

    assert (4, 1) == (len(pids), len(set(pids)))


def test_a_job_can_ask_for_a_process_that_has_run_nothing_before():
    with workers.Team(work, size=1) as team:
        team.add(0, ("pid", None))
        first = said(list(team))
        team.add(1, ("pid", None), fresh=True)
        second = said(list(team))

    assert (1, 1, 2) == (len(first), len(second), len({*first, *second}))


@pytest.mark.parametrize(
    ("end", "reason", "output"),
    [
        ("kill", "SIGKILL", ""),
        ("exit", "exit code 3", ""),
        ("raise", "exit code 1", "ValueError: planted"),
        ("segfault", "SIGSEGV", "string_at"),
    ],
)
def test_a_worker_that_dies_costs_its_job_alone_and_leaves_its_last_words(end: str, reason: str, output: str):
    messages = listen([("say", 0), (end, None), ("say", 2), ("say", 3)])
    died = only_death(messages)

    assert (1, "died") == (died.job, died.kind)
    assert reason in died.reason
    assert output in died.output
    assert {0, 2, 3} == done(messages)


def test_an_error_of_the_users_ends_everything_and_arrives_as_itself():
    with pytest.raises(DataError, match="planted"):
        listen([("refuse", "planted"), ("say", 1)])


def test_a_job_past_its_time_is_interrupted_and_tells_where_it_was():
    died = only_death(listen([("sleep", None)], seconds=0.5, grace=60))

    assert "timed_out" == died.kind
    assert "The time limit of 0.5 s passed; the worker was interrupted." == died.reason
    assert "time.sleep(600)" in died.output


@pytest.mark.parametrize(("job", "how"), [(("swallow", None), "terminated"), (("deadlock", False), "terminated")])
def test_one_that_does_not_heed_the_interrupt_is_terminated(job: tuple[str, object], how: str):
    died = only_death(listen([job], seconds=0.5, grace=0.5))

    assert f"The time limit of 0.5 s passed; the worker was {how}." == died.reason
    assert job[0] in died.output  # where it hangs, even in C


def test_one_that_blocks_signals_while_it_hangs_in_c_is_killed_and_the_next_job_runs():
    messages = listen([("deadlock", True), ("say", 1)], seconds=2, grace=0.2)

    assert "The time limit of 2 s passed; the worker was killed." == only_death(messages).reason
    assert {1} == done(messages)


def test_a_job_that_says_nothing_for_too_long_is_ended():
    died = only_death(listen([("sleep", None)], silence=1.5, grace=60))

    assert ("timed_out", "No sign of life for 1.5 s; the worker was interrupted.") == (died.kind, died.reason)


def test_time_passes_for_a_job_that_talks_all_the_time_unless_what_it_says_restarts_the_clock():
    def ends(limit: float, restarts: Callable[[object], bool]) -> list[str]:
        limits = workers.Limits(seconds=limit, grace=60)
        with workers.Team(work, size=1, limits=limits, restarts=restarts) as team:
            team.add(0, ("tick", 12))
            return [type(m).__name__ for m in team if not isinstance(m, workers.Said)]

    assert ["Died"] == ends(1, lambda content: False)
    assert ["Done"] == ends(2, lambda content: content == "tick")  # 2.4 seconds in all


def test_time_in_which_the_parent_itself_stood_still_does_not_count():
    with workers.Team(work, size=1, limits=workers.Limits(seconds=60)) as team:
        team.add(0, ("tick", 1))
        messages = []
        for message in team:
            messages.append(message)
            team.looked -= 3600  # as if it had been stopped for an hour

    assert {0} == done(messages)


def test_the_largest_worker_is_killed_when_all_together_hold_too_much():
    with workers.Team(work, size=2, limits=workers.Limits(memory=250 * 2**20)) as team:
        team.add(0, ("sleep", None))
        team.add(1, ("leak", 300))
        died = next(message for message in team if isinstance(message, workers.Died))

        assert (1, "out_of_memory") == (died.job, died.kind)
        assert "past the limit of 250 MiB; this one, with " in died.reason
        assert [0] == [worker.job for worker in team.busy]  # the small one lives on


def test_the_memory_of_the_machine_is_known_and_nine_tenths_of_it_are_the_limit():
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = workers.machine_memory()

    assert memory is not None
    assert 2**28 < memory <= pages
    assert 0.9 * memory == workers.Limits().memory


def test_what_a_job_prints_stays_off_the_terminal_and_its_end_is_kept(capfd: pytest.CaptureFixture[str]):
    outputs = []
    with workers.Team(work, size=1) as team:
        team.add(0, ("print", 40_000))  # 5 MiB
        team.add(1, ("print", 0))
        for message in team:
            if isinstance(message, workers.Said):
                outputs.append(team.output(message.job))

    assert outputs[0].endswith("x\nfrom C\nfrom a child\n")
    assert workers.TAIL == len(outputs[0])
    assert "first line of all\nfrom C\nfrom a child\n" == outputs[1]  # nothing of the job before
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize("job", [("sleep", None), ("deadlock", True)], ids=["python", "stubborn"])
def test_leaving_the_block_ends_the_workers(job: tuple[str, object]):
    with workers.Team(work, size=2, limits=workers.Limits(grace=0.5)) as team:
        team.add(0, job)
        pid = next(m.content for m in team if isinstance(m, workers.Said))
        assert alive(pid)

    assert not alive(pid)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from bench import workers
from tests.test_workers import work
if __name__ == "__main__":
    with workers.Team(work, size=1) as team:
        team.add(0, (sys.argv[1], True))
        for message in team:
            Path(sys.argv[2]).write_text(str(message.content))
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["sleep", "deadlock"])
def test_a_worker_whose_parent_is_killed_leaves_at_once_even_when_it_hangs_in_c(tmp_path: Path, how: str):
    (tmp_path / "script.py").write_text(SCRIPT)
    marker = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(tmp_path / "script.py"), how, str(marker)], env=environment, check=False)

    wait_for(lambda: not alive(int(marker.read_text())))
