"""How many workers a machine carries."""

from __future__ import annotations

import pytest

from bench import machine
from bench.specs import Recipe

SMALL, LARGE = Recipe(size=(256, 256), batch=8), Recipe(size=(512, 512), batch=16)


@pytest.mark.parametrize(
    ("device", "gpus", "cores", "recipe", "expected"),
    [
        ("auto", [], 2, SMALL, 2),
        ("auto", [], 64, SMALL, 8),
        ("cpu", [143_000], 4, SMALL, 4),
        ("auto", [143_000], 16, SMALL, 4),
        ("auto", [143_000], 16, LARGE, 1),
        ("auto", [143_000], 4, SMALL, 2),  # two cores each
        ("cuda", [24_000], 16, SMALL, 2),  # 8 GiB each
        ("cuda", [6_000], 16, SMALL, 1),
        ("cuda", [143_000, 143_000], 16, SMALL, 8),
        ("cuda", [143_000, 143_000], 16, LARGE, 2),
        ("cuda:1", [143_000, 143_000], 16, LARGE, 1),
        ("cuda", [0], 16, SMALL, 1),  # there is one, but nobody knows how large
    ],
)
def test_workers_follow_from_cores_gpus_and_the_size_of_a_batch(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: list[int], cores: int, recipe: Recipe, expected: int
):
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    monkeypatch.setattr(machine, "cores", lambda: cores)

    assert expected == machine.default_workers(device, recipe)


def test_a_machine_without_a_gpu_has_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert [] == machine.gpus()


def test_workers_spread_over_the_gpus_by_their_place_in_the_team(monkeypatch: pytest.MonkeyPatch):
    import torch

    from bench.device import resolve_device
    from bench.serve import SLOT

    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    devices = []
    for slot in "0123":
        monkeypatch.setenv(SLOT, slot)
        devices.append(resolve_device("auto").index)

    assert [0, 1, 0, 1] == devices == chosen
    assert 1 == resolve_device("cuda:1").index
    assert "cpu" == resolve_device("cpu").type


@pytest.mark.parametrize(("there", "expected"), [(True, 12.5), (False, None)])
def test_energy_is_what_the_meter_of_the_gpu_says_and_none_without_a_driver(monkeypatch, there: bool, expected):
    import sys
    from types import SimpleNamespace

    import torch

    from bench import device

    class NoDriver(Exception):
        pass

    def start() -> None:
        if not there:
            raise NoDriver

    nvml = SimpleNamespace(
        NVMLError=NoDriver, nvmlInit=start, nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"GPU-abc": 12_500}[handle],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))

    assert expected == device.energy(torch.device("cuda", 0))
    assert device.energy(torch.device("cpu")) is None
