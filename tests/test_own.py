"""Losses and metric profiles of a user's own folder: found, named, refused, and what of them reaches a fingerprint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import catalog, explain, listing, losses, metrics, plan, runner
from bench.errors import NameUnknown
from tests import small
from tests.commands import call

LOSS = '''"""Half: half of the cross-entropy."""

from bench.specs import LossSpec


def compute(logits, target, share=0.5):
    from bench import criteria

    return share * criteria.ce(logits, target)


SPEC = LossSpec(title="Half", citation="me", options={"share": 0.5}, compute=compute)
'''
PROFILE = '''"""First: the share of right pixels in the first image."""

import numpy as np

from bench.rules import Metric, Profile, divide


def right(counts):
    whole = counts.sum(axis=-3)
    return divide(np.trace(whole, axis1=-2, axis2=-1), whole.sum(axis=(-2, -1)))


METRIC = Metric(title="right", definition="The share of right pixels.", compute=right)
SPEC = Profile(title="Right pixels", primary="right", metrics={"right": METRIC}, source="here", users="me")
'''
COUNTS = np.array([[[6, 2], [1, 1]]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of the test's own; modules of earlier ones are forgotten."""
    for kind in ("losses", "profiles"):
        (tmp_path / kind).mkdir()
    for name in [one for one in sys.modules if one.startswith(("bench.own_losses.", "bench.own_profiles."))]:
        monkeypatch.delitem(sys.modules, name)
    catalog.parsed.cache_clear()
    monkeypatch.setenv("BENCH_PATH", os.pathsep.join([str(tmp_path), os.environ["BENCH_PATH"]]))
    return tmp_path


def put(folder: Path, kind: str, name: str, text: str) -> Path:
    path = folder / kind / f"{name}.py"
    path.write_text(text)
    return path


def refusal(what, *words: object) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(NameUnknown) as error:
        what(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_loss_of_ones_own_stands_in_expressions_with_its_options(folder: Path):
    import torch

    put(folder, "losses", "half", LOSS)
    logits, target = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    entropy = losses.build("ce")(logits, target)

    assert "0.5*half[share=2]+ce" == losses.canonical("0.5*half[share=2.0] + ce")
    assert "half" == losses.canonical("half[share=0.5]")
    torch.testing.assert_close(0.5 * entropy, losses.build("half")(logits, target))
    torch.testing.assert_close(2 * entropy, losses.build("0.5*half[share=2]+ce")(logits, target))


def test_a_loss_of_ones_own_is_listed_without_being_imported_and_is_among_all(folder: Path):
    put(folder, "losses", "half", LOSS.replace("from bench.specs", "raise OSError\nfrom bench.specs"))
    [row] = [row for row in listing.table("losses") if row["name"] == "half"]

    assert {"name": "half", "options": "share=0.5", "what": "Half: half of the cross-entropy.", "source": "me"} == row
    put(folder, "losses", "half", LOSS)
    assert (*losses.LOSSES, "half") == runner.resolve(small.study(losses=("all",))).losses


def test_names_are_guessed_and_those_of_ours_refused(folder: Path):
    put(folder, "losses", "half", LOSS)
    put(folder, "profiles", "first", PROFILE)

    assert "Did you mean half" in refusal(losses.canonical, "haff+ce")
    assert "Did you mean first" in refusal(metrics.profile, "firts")
    assert "Did you mean share" in refusal(losses.canonical, "half[shar=1]")
    taken = put(folder, "losses", "dice", LOSS)
    assert f"{taken} cannot be used: 'dice' is a loss of the program." in refusal(losses.canonical, "ce")
    taken.rename(taken.with_name("a+b.py"))
    taken = put(folder, "profiles", "custom", PROFILE)
    assert f"{taken} cannot be used: 'custom' is a metric profile" in refusal(metrics.profile, "first")


def test_a_loss_file_that_is_none_is_told_with_its_line(folder: Path):
    broken = put(folder, "losses", "broken", '"""Broken."""\n\nimport no_such_library\n')
    wrong = put(folder, "losses", "wrong", '"""Wrong."""\n\n\ndef compute(:\n')
    put(folder, "losses", "empty", '"""Empty."""\n')
    put(folder, "losses", "word", LOSS.replace('{"share": 0.5}', '{"share": "much"}'))
    put(folder, "losses", "without", LOSS.replace(", compute=compute", ""))

    assert f"No module named 'no_such_library'. Mend {broken}, line 3." in refusal(losses.parse, "broken")
    assert f"SyntaxError: invalid syntax. Mend {wrong}, line 4." in refusal(losses.parse, "wrong")
    assert "defines no SPEC of type LossSpec" in refusal(losses.parse, "empty")
    assert "the option share is a word. Add choices" in refusal(losses.parse, "word")
    assert "its SPEC has no `compute`" in refusal(losses.parse, "without")


def test_only_cells_that_use_a_loss_of_ones_own_depend_on_its_file(folder: Path, data_home: Path):
    path = put(folder, "losses", "half", LOSS)
    wanted = small.study(losses=("ce", "half+ce"), baselines=())

    def prints() -> dict[str | None, str]:
        planned = runner.survey(wanted, small.place(folder, data_home))
        return {one.cell.loss: plan.digest(one.ingredients) for one in planned}

    before = prints()
    path.write_text(LOSS + "# changed\n")
    after = prints()

    assert before["ce"] == after["ce"]
    assert before["half+ce"] != after["half+ce"]
    assert "" == losses.code_hash("dice+ce")
    helper = put(folder, "losses", "_helper", "")
    assert after["half+ce"] != prints()["half+ce"], helper


def test_workers_of_their_own_find_the_loss(folder: Path, data_home: Path):
    put(folder, "losses", "half", LOSS)
    wanted, where = small.study(losses=("half",), baselines=()), small.place(folder, data_home)
    small.execute(wanted, where, workers=1)
    [record] = small.stored(wanted, where).values()

    assert ("ok", "half") == (record.status, record.cell.loss)


def test_a_profile_of_ones_own_scores_and_is_named_by_its_code(folder: Path):
    path = put(folder, "profiles", "first", PROFILE)
    profile = metrics.profile("first")
    version = catalog.code_hash("profiles", "first")[:8]

    assert ("first", f"first@{version}") == (profile.name, profile.id)
    assert {"right": 0.7} == metrics.scores(COUNTS, ("background", "cell"), profile)
    assert profile.id == metrics.profile(f"first@{version}").id
    assert f"{profile.id}: Right pixels." == explain.lines("first")[0]
    assert f"right in the profile {profile.id}: right" in "\n".join(explain.lines("right"))
    assert "First: the share of right pixels in the first image." in [row["what"] for row in listing.table("metrics")]
    metrics.check_own(profile.id)
    path.write_text(PROFILE + "# changed\n")
    assert metrics.profile("first").id != profile.id
    assert f"{path} changed. Write the tables anew" in refusal(metrics.check_own, profile.id)
    path.unlink()
    assert "is not here. Name the folder that has profiles/first.py by --catalog." in refusal(
        metrics.check_own, profile.id
    )
    metrics.check_own("tm_meaniou@torchmetrics-1.9.0")


def test_a_profile_that_fails_is_told_with_its_line(folder: Path):
    path = put(folder, "profiles", "fails", PROFILE.replace("axis=-3", "axis=7"))
    put(folder, "profiles", "named", PROFILE.replace('title="Right pixels"', 'title="Right", name="other"'))
    put(folder, "profiles", "aimless", PROFILE.replace('primary="right"', 'primary="left"'))
    put(folder, "profiles", "measured", PROFILE.replace("compute=right", 'compute=right, measure="keras_dice"'))
    profile = metrics.profile("fails")

    told = refusal(metrics.scores, COUNTS, ("background", "cell"), profile)
    assert told.startswith("right of fails cannot be computed: AxisError")
    assert told.endswith(f"Mend {path}, line 9.")
    assert "its SPEC is named 'other', and the file 'named'" in refusal(metrics.profile, "named")
    assert "its primary 'left' is none of its metrics: right" in refusal(metrics.profile, "aimless")
    assert "A metric of your own is computed from counts" in refusal(metrics.profile, "measured")


def test_a_catalogue_of_losses_alone_is_one_and_its_mistakes_end_a_command_with_2(folder: Path):
    put(folder, "losses", "ce", LOSS)
    result = subprocess.run(
        [sys.executable, "-m", "bench", "--catalog", str(folder), "list", "losses"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip

    assert 2 == result.returncode
    assert "'ce' is a loss of the program. Rename the file." in result.stderr
    assert "Traceback" not in result.stderr
    assert 2 == call("report", "--profile", "nowhere")[0]
