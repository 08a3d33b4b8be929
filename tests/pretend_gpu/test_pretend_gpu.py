"""The pretended GPU refuses what a GPU refuses, so that what passes on it may pass on one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.pretend_gpu.cuda import pretend_gpu
from tests.pretend_gpu.tensors import GPU, NOISE, Device

from specdec.passes import CudaRecorder, captured

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


@pytest.fixture
def gpu() -> Iterator[Device]:
    with pretend_gpu() as device:
        yield device


def on_gpu(*values: float) -> torch.Tensor:
    return torch.tensor(values, device="cuda")


def test_tensors_say_where_they_are(gpu: Device) -> None:
    made = [on_gpu(1, 2), torch.zeros(2, device=GPU), torch.ones(2).to("cuda"), on_gpu(1, 2)[:1] + 1, torch.zeros_like(on_gpu(1))]
    assert all(tensor.is_cuda and tensor.device == GPU for tensor in made)
    hosts = [torch.zeros(2), on_gpu(1).cpu(), on_gpu(1).to("cpu"), torch.ones_like(on_gpu(1), device="cpu")]
    assert not any(tensor.is_cuda for tensor in hosts)
    assert {tensor.device.type for tensor in hosts} == {"cpu"}


def test_a_copy_to_or_from_the_gpu_is_a_copy(gpu: Device) -> None:
    host = torch.zeros(2)
    there = host.to("cuda")
    there += 1
    back = there.cpu()
    there += 1
    assert host.tolist() == [0, 0]
    assert back.tolist() == [1, 1]


def test_tensors_of_two_devices_do_not_mix(gpu: Device) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        on_gpu(1, 2) + torch.ones(2)
    with pytest.raises(RuntimeError, match="same device"):
        torch.cat((on_gpu(1), torch.ones(1)))
    assert (on_gpu(1, 2) + torch.tensor(1.0)).tolist() == [2, 3]
    assert on_gpu(1, 2)[torch.tensor([1])].tolist() == [2]


def test_memory_is_noise_until_it_is_written(gpu: Device) -> None:
    assert torch.empty(2, device="cuda").isnan().tolist() == [True, True]
    assert torch.empty(1, dtype=torch.int64, device="cuda").tolist() == [NOISE]


def test_what_the_host_waits_for_is_counted(gpu: Device) -> None:
    x = on_gpu(3.0, 4.0)
    gpu.waits.clear()
    x.add_(1).mul(2).softmax(-1)
    x[0] = 5
    torch.full((1,), 3, device=x.device)
    assert not gpu.waits
    assert x[1].item() == 5
    assert x.tolist() == [5, 5]
    assert bool((x > 4).any())
    assert len(x[x > 4]) == 2
    torch.tensor([1], device=x.device)
    assert gpu.waits == {"item": 1, "tolist": 1, "__bool__": 1, "__getitem__": 1, "tensor": 1}


def test_an_event_has_a_time_after_the_host_has_waited(gpu: Device) -> None:
    first, second = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()
    second.record()
    with pytest.raises(RuntimeError, match="completed"):
        first.elapsed_time(second)
    second.synchronize()
    assert first.elapsed_time(second) >= 0


def test_a_recording_does_nothing_until_it_is_replayed_and_then_reads_what_is_there(gpu: Device) -> None:
    x, total = on_gpu(1, 2), torch.zeros(2, device="cuda")

    def body() -> torch.Tensor:
        total.add_(x)
        return total.view(2, 1) * 2

    replay = captured(body)
    warmed_up = total.tolist()
    x.copy_(on_gpu(10, 20))
    assert total.tolist() == warmed_up == [2, 4]
    out = replay()
    assert out.flatten().tolist() == [24, 48]
    assert replay() is out
    assert out.flatten().tolist() == [44, 88]


def test_a_host_that_waits_cannot_be_recorded(gpu: Device) -> None:
    x = on_gpu(1)
    for body in (lambda: x * x.item(), lambda: x + torch.tensor([1.0], device=x.device), lambda: x[x > 0], lambda: x + x.cpu().to("cuda")):
        record = CudaRecorder()
        record(body)
        assert record.problem is not None
        assert "capturing" in record.problem


def test_a_recording_over_freed_memory_is_refused(gpu: Device) -> None:
    def recorded() -> tuple[object, torch.Tensor]:
        x = on_gpu(1)
        return captured(lambda: x + 1), x

    replay, kept = recorded()
    assert callable(replay)
    assert replay().tolist() == [2]
    del kept
    replay, _ = recorded()
    assert callable(replay)
    del _
    with pytest.raises(RuntimeError, match="freed memory"):
        replay()


def test_afterwards_there_is_no_gpu() -> None:
    with pretend_gpu():
        assert torch.cuda.is_available()
    assert not torch.cuda.is_available()
    with pytest.raises((AssertionError, RuntimeError)):
        torch.ones(1, device="cuda")
