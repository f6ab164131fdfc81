"""How a network is run: measured where it pays, remembered, and within the memory there is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import execution, losses
from bench.execution import Memory, Timer
from bench.records import Execution
from bench.specs import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(size=(16, 16), batch=4)
FP32, BF16 = Execution(precision="fp32", micro_batch=4), Execution(precision="bf16", micro_batch=4)


def timer(recipe: Recipe = RECIPE, network: nn.Module | None = None) -> Timer:
    torch.manual_seed(0)
    return Timer(network or nn.Conv2d(3, 2, 3, padding=1), losses.build("ce"), 1, 2, recipe, CPU)


def memory(folder: Path) -> Memory:
    return Memory(folder=folder, circumstances={"architecture": "a"})


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "computes_in_bf16", lambda device: True)


def clock(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> list[Execution]:
    """Steps that take a known time by precision and layout; what was timed, in order."""
    timed: list[Execution] = []

    def taken(self: Timer, way: Execution) -> float:
        timed.append(way)
        return seconds[f"{way.precision}/{way.layout}"]

    monkeypatch.setattr(Timer, "seconds", taken)
    return timed


def test_the_rule_is_bf16_where_the_hardware_has_it_and_what_the_recipe_names_elsewhere(monkeypatch):
    monkeypatch.setattr(execution, "computes_in_bf16", lambda device: True)
    fast, named = execution.rule(RECIPE, CPU), execution.rule(replace(RECIPE, precision="fp32"), CPU)
    monkeypatch.setattr(execution, "computes_in_bf16", lambda device: False)

    assert (BF16, FP32, FP32) == (fast, named, execution.rule(RECIPE, CPU))


def test_on_a_processor_both_precisions_and_layouts_are_candidates_and_the_rule_comes_first(with_bf16: None):
    ways = execution.candidates(RECIPE, CPU, seconds=1e9)

    assert BF16 == ways[0]
    assert {"bf16/channels_last", "bf16/contiguous", "fp32/channels_last", "fp32/contiguous"} == {
        f"{way.precision}/{way.layout}" for way in ways
    }
    assert {"eager"} == {way.mode for way in ways}
    assert {"fp32"} == {way.precision for way in execution.candidates(replace(RECIPE, precision="fp32"), CPU)}


def test_the_fastest_candidate_wins_and_all_speeds_are_told(with_bf16: None, monkeypatch: pytest.MonkeyPatch):
    clock(monkeypatch, {
        "bf16/channels_last": 0.2, "bf16/contiguous": 0.3, "fp32/channels_last": 0.1, "fp32/contiguous": 0.5
    })  # fmt: skip
    found = execution.fastest(timer(), BF16)

    assert ("fp32", "channels_last", "eager") == (found.precision, found.layout, found.mode)
    assert {
        "bf16/channels_last/eager": 20.0, "bf16/contiguous/eager": 13.33,
        "fp32/channels_last/eager": 40.0, "fp32/contiguous/eager": 8.0,
    } == found.speeds  # fmt: skip


def test_a_gain_too_small_to_tell_from_noise_changes_nothing(with_bf16: None, monkeypatch: pytest.MonkeyPatch):
    clock(monkeypatch, {
        "bf16/channels_last": 1.0, "bf16/contiguous": 0.98, "fp32/channels_last": 1.0, "fp32/contiguous": 1.0
    })  # fmt: skip

    assert "channels_last" == execution.fastest(timer(), BF16).layout


def test_what_is_far_behind_is_not_timed_again(with_bf16: None, monkeypatch: pytest.MonkeyPatch):
    timed = clock(monkeypatch, {
        "bf16/channels_last": 0.1, "bf16/contiguous": 0.11, "fp32/channels_last": 0.5, "fp32/contiguous": 0.5
    })  # fmt: skip
    execution.fastest(timer(), BF16)

    assert [1, 1] == [
        sum(way.precision == "fp32" and way.layout == layout for way in timed)
        for layout in ("channels_last", "contiguous")
    ]
    assert 3 <= sum(way == replace(BF16, layout="contiguous") for way in timed)


def test_a_candidate_that_raises_is_left_out_and_the_first_must_work(with_bf16: None):
    class NoBf16(nn.Conv2d):
        def forward(self, x):
            if torch.is_autocast_enabled("cpu"):
                raise RuntimeError("not implemented for 'BFloat16'")
            return super().forward(x)

    found = execution.fastest(timer(network=NoBf16(3, 2, 1)), FP32)

    assert "fp32" == found.precision
    assert {"fp32/channels_last/eager", "fp32/contiguous/eager"} == set(found.speeds)
    assert {"bf16/channels_last/eager", "bf16/contiguous/eager"} == set(found.refused)
    assert all("not implemented for 'BFloat16'" in said for said in found.refused.values())
    with pytest.raises(RuntimeError, match="BFloat16"):
        execution.fastest(timer(network=NoBf16(3, 2, 1)), BF16)


def test_measuring_leaves_the_network_as_it_was(with_bf16: None):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    execution.fastest(timer(network=network), BF16)

    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("recipe", "steps", "measured"),
    [(RECIPE, 10**6, True), (RECIPE, 100, False), (replace(RECIPE, deterministic=True), 10**6, False)],
)
def test_nothing_is_measured_where_it_does_not_pay_or_must_repeat(
    tmp_path: Path, recipe: Recipe, steps: int, measured: bool
):
    found = execution.choose(timer(recipe), memory(tmp_path), steps)

    assert measured == bool(found.speeds)
    assert found == memory(tmp_path).recall()


def test_what_was_found_is_remembered_and_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = execution.choose(timer(), memory(tmp_path), 10**6)
    monkeypatch.setattr(Timer, "seconds", lambda *arguments: pytest.fail("measured again"))

    assert first == execution.choose(timer(), memory(tmp_path), 10**6)
    assert {"architecture": "a"} == json.loads(memory(tmp_path).path.read_text())["circumstances"]


def test_what_a_kill_left_of_the_file_is_removed_and_that_of_others_stays(tmp_path: Path):
    mine = memory(tmp_path)
    left, other = (tmp_path / f".{name}.4711-0a1b2c3d.part" for name in (mine.path.name, "another.json"))
    for path in (left, other):
        path.write_text("{")
    execution.choose(timer(), mine, steps=0)

    assert [other] == list(tmp_path.glob("*.part"))


def test_other_circumstances_are_another_file(tmp_path: Path):
    one, other = (Memory(folder=tmp_path, circumstances={"threads": count}) for count in (1, 2))

    assert one.path != other.path


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"execution": {"precision": 3}}', b'{"execution": null}'])
def test_a_damaged_memory_is_measured_anew(tmp_path: Path, content: bytes):
    memory(tmp_path).path.write_bytes(content)

    assert memory(tmp_path).recall() is None
    assert execution.rule(RECIPE, CPU) == execution.choose(timer(), memory(tmp_path), 1)


def hungry(most: int, seen: list[int]):
    def attempt(way: Execution) -> int:
        seen.append(way.micro_batch)
        if way.micro_batch > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return way.micro_batch

    return attempt


def test_the_micro_batch_is_halved_until_it_fits_and_whoever_remembers_is_told():
    seen, told = list[int](), list[int]()
    found = execution.fitting(
        Execution(precision="fp32", micro_batch=12), hungry(2, seen), lambda way: told.append(way.micro_batch)
    )

    assert (2, [12, 6, 3, 2], [6, 3, 2]) == (found, seen, told)


def test_an_image_that_does_not_fit_alone_is_out_of_memory():
    seen: list[int] = []
    with pytest.raises(torch.OutOfMemoryError):
        execution.fitting(FP32, hungry(0, seen), lambda way: None)

    assert [4, 2, 1] == seen


def test_memory_of_the_processor_counts_and_any_other_error_does_not():
    errors = iter(
        [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), ValueError("x")]
    )

    def attempt(way: Execution) -> None:
        raise next(errors)

    with pytest.raises(ValueError, match="x"):
        execution.fitting(FP32, attempt, lambda way: None)


def test_a_captured_step_is_given_up_when_gradients_must_be_summed():
    told: list[Execution] = []
    execution.fitting(replace(BF16, mode="graphs"), hungry(2, []), told.append)

    assert [("eager", 2)] == [(way.mode, way.micro_batch) for way in told]


@pytest.mark.slow
def test_a_compiled_network_gives_the_logits_of_the_eager_one():
    from bench.forward import Forward

    torch.manual_seed(0)
    network, images = (
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)),
        torch.rand(2, 3, 16, 16),
    )
    eager = Forward(network, 1, FP32)(images)

    assert torch.allclose(eager, Forward(network, 1, replace(FP32, mode="compiled"))(images), atol=1e-5)


@pytest.mark.parametrize(("seconds", "measured"), [(1e9, True), (1e-3, False)])
def test_a_budget_in_seconds_decides_whether_measuring_pays(
    tmp_path: Path, monkeypatch, seconds: float, measured: bool
):
    """Steps of half a second: in a millisecond there is none ahead, whatever the number of epochs."""
    monkeypatch.setattr(Timer, "seconds", lambda self, way: 0.5)
    found = execution.choose(timer(), memory(tmp_path), 10**9, seconds)

    assert measured == bool(found.speeds)


def test_memory_that_runs_out_while_timing_halves_the_batch_also_under_a_budget_in_seconds(tmp_path: Path, monkeypatch):
    def taken(self: Timer, way: Execution) -> float:
        if way.micro_batch > 2:
            raise torch.OutOfMemoryError("planted")
        return 0.5

    monkeypatch.setattr(Timer, "seconds", taken)

    assert 2 == execution.choose(timer(), memory(tmp_path), 10**9, 1e9).micro_batch
