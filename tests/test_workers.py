from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bench import workers
from bench.errors import DataError


def work(job: object, say: workers.Say) -> None:
    """What the tests' jobs ask for."""
    what, argument = job  # ty: ignore[not-iterable]
    if what == "say":
        say(argument)
    elif what == "pid":
        say(os.getpid())
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "exit":
        os._exit(3)
    elif what == "refuse":
        raise DataError(argument)
    elif what == "sleep":
        Path(argument).write_text(str(os.getpid()))
        time.sleep(600)


def test_every_job_is_run_and_what_it_says_is_passed_on():
    jobs = [("say", number) for number in range(5)]
    messages = list(workers.run(work, jobs, workers=2))

    assert set(range(5)) == {m.job for m in messages if isinstance(m, workers.Done)}
    assert {number: number for number in range(5)} == {
        m.job: m.content for m in messages if isinstance(m, workers.Said)
    }


def test_a_worker_is_kept_warm_for_all_its_jobs():
    messages = list(workers.run(work, [("pid", None)] * 4, workers=1))

    assert 1 == len({m.content for m in messages if isinstance(m, workers.Said)})


@pytest.mark.parametrize(("end", "reason"), [("kill", "SIGKILL"), ("exit", "exit code 3")])
def test_a_worker_that_dies_costs_its_job_alone(end: str, reason: str):
    messages = list(workers.run(work, [("say", 0), (end, None), ("say", 2), ("say", 3)], workers=1))
    died = [m for m in messages if isinstance(m, workers.Died)]

    assert [1] == [m.job for m in died]
    assert reason in died[0].reason
    assert {0, 2, 3} == {m.job for m in messages if isinstance(m, workers.Done)}


def test_an_error_of_the_users_ends_everything_and_arrives_as_itself():
    with pytest.raises(DataError, match="planted"):
        list(workers.run(work, [("refuse", "planted"), ("say", 1)], workers=1))


def test_leaving_the_loop_ends_the_workers(tmp_path: Path):
    started = tmp_path / "pid"
    stream = workers.run(work, [("say", 0), ("sleep", str(started))], workers=1)
    for message in stream:
        if isinstance(message, workers.Done):
            break
    deadline = time.monotonic() + 60
    while not (started.is_file() and started.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    stream.close()

    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_worker_whose_parent_is_gone_leaves_at_once_and_calls_nothing_a_failure(tmp_path: Path):
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from bench import workers\n"
        "def work(job, say):\n"
        "    Path(job).write_text(str(os.getpid()))\n"
        "    try:\n"
        "        while True:\n"
        "            say('still here')\n"
        "            time.sleep(0.05)\n"
        "    except Exception as error:\n"
        "        Path(job + '.failed').write_text(repr(error))\n"
        "if __name__ == '__main__':\n"
        "    for message in workers.run(work, [sys.argv[1]], workers=1):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    marker = tmp_path / "pid"
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, str(script), str(marker)], env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{marker.read_text()}").exists():
        time.sleep(0.1)

    assert not Path(f"/proc/{marker.read_text()}").exists()
    assert not Path(f"{marker}.failed").exists()
