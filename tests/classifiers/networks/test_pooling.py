"""The compiled pooling: PyTorch's numbers and gradients, whoever calls it and wherever."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hypercover.classifiers.networks import pooling
from hypercover.classifiers.networks.lecture import LectureNetwork, relu_pool

KINDS = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def written_out(values, pool, pad):
    pooled = F.max_pool3d(torch.relu(values), (pool, 1, 1))
    return F.pad(pooled, (0, 0, 0, 0, pad, pad))


def same(ours, theirs):
    return torch.allclose(ours, theirs, rtol=0, atol=0, equal_nan=True)


def drawn(shape, seed, kind=torch.float32):
    """Few different values, so that many are equal, and all that is not a number."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-3, 4, shape, generator=generator) / 2
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, -torch.nan, -0.0, 1e-30])
    which = torch.randint(40, shape, generator=generator)
    values = torch.where(which < 6, special[which.clamp(max=5)], values)
    return values.to(kind)


def compared(values, pool, pad):
    """Check numbers and gradients against PyTorch's operations."""
    ours = values.detach().requires_grad_()
    theirs = values.detach().clone().requires_grad_()
    got, expected = relu_pool(ours, pool, pad), written_out(theirs, pool, pad)
    assert got.dtype == expected.dtype
    assert same(got, expected)
    slopes = torch.randn(got.shape, generator=torch.Generator().manual_seed(0))
    got.backward(slopes.to(got.dtype))
    expected.backward(slopes.to(got.dtype))
    assert torch.equal(ours.grad, theirs.grad)
    with torch.no_grad():
        assert same(relu_pool(ours, pool, pad), expected)


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 2, st.integers(1, 14), *[st.integers(1, 5)] * 2),
    pool=st.sampled_from([1, 2, 3]),
    pad=st.integers(0, 3),
    kind=st.sampled_from(KINDS[:3]),
    seed=st.integers(0, 2**30),
)
def test_numbers_and_gradients_are_those_of_pytorch(shape, pool, pad, kind, seed):
    compared(drawn(shape, seed, kind), min(pool, shape[2]), pad)


@pytest.mark.parametrize(
    "layout",
    [
        lambda values: values.contiguous(memory_format=torch.channels_last_3d),
        lambda values: values.transpose(3, 4),
        lambda values: values.flip(0)[:, ::2],
        lambda values: values[:, :1].expand(-1, 5, -1, -1, -1),
        lambda values: values[..., 1:],
    ],
)
def test_any_layout_will_do(layout):
    compared(layout(drawn((3, 4, 11, 5, 6), 0)), 3, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_not_a_number_is_swallowed(kind):
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[kind.itemsize]
    nan = torch.tensor(torch.nan, dtype=kind)
    # what a processor makes of inf - inf has the sign bit set
    negative = nan.view(bits) | torch.iinfo(bits).min
    for missing in (nan, negative.view(kind)):
        for at in range(3):
            values = torch.ones(1, 1, 3, 1, 1, dtype=kind)
            values[0, 0, at] = missing
            assert relu_pool(values, 3, 0).isnan().all()
            compared(values, 3, 1)


def test_gradient_is_the_slope_of_the_values():
    values = torch.randn(2, 2, 8, 3, 3, generator=torch.Generator().manual_seed(3))
    values = values.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda each: relu_pool(each, 3, 1), values)


def test_the_compiled_loop_runs_only_where_a_gradient_follows(monkeypatch):
    calls, loop = [], pooling.forward
    monkeypatch.setattr(
        pooling, "forward", lambda *arguments: calls.append(loop(*arguments))
    )
    values = torch.randn(1, 1, 6, 2, 2)
    relu_pool(values, 2, 0)
    with torch.no_grad():
        relu_pool(values.clone().requires_grad_(), 2, 0)
    with torch.inference_mode():
        relu_pool(values, 2, 0)
    assert not calls
    relu_pool(values.clone().requires_grad_(), 2, 0)
    assert len(calls) == 1


def test_without_memory_there_is_a_shape():
    pooled = relu_pool(torch.empty(2, 3, 11, 4, 5, device="meta"), 3, 2)
    assert (pooled.device.type, pooled.shape) == ("meta", (2, 3, 7, 4, 5))


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
def test_traced_and_exported_it_is_what_pytorch_does():
    class Layer(torch.nn.Module):
        def forward(self, values):
            return relu_pool(values, 3, 2)

    values, other = drawn((1, 2, 9, 3, 3), 6), drawn((1, 2, 9, 3, 3), 7)
    for made in (
        torch.jit.trace(Layer(), values, check_trace=False),
        torch.export.export(Layer(), (values,)).module(),
        torch.export.export(Layer(), (values,), strict=False).module(),
    ):
        assert same(made(other), relu_pool(other, 3, 2))


@pytest.fixture
def any_size(monkeypatch):
    """Let even a few planes be shared by threads."""
    monkeypatch.setattr(pooling, "_VALUES_PER_THREAD", 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_it_takes_as_many_threads_as_pytorch_may(any_size, monkeypatch, threads):
    names, loop = set(), pooling.forward
    meeting = threading.Barrier(threads, timeout=300)
    values = drawn((3, 5, 11, 3, 4), 8)
    expected = written_out(values, 3, 2)

    def watched(*arguments):
        meeting.wait()
        names.add(threading.get_ident())
        loop(*arguments)

    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    pooling._thread_pool.cache_clear()
    monkeypatch.setattr(pooling, "forward", watched)
    torch.set_num_threads(threads)
    assert same(relu_pool(values.requires_grad_(), 3, 2), expected)
    assert len(names) == threads
    pooling._thread_pool.cache_clear()


def test_threads_of_python_side_by_side_get_the_same(any_size):
    torch.set_num_threads(2)
    with ThreadPoolExecutor(6) as pool:
        for _ in pool.map(
            lambda seed: compared(drawn((4, 3, 10, 5, 5), seed), 3, 2), range(60)
        ):
            pass


def _in_child(seed, pipe):
    pooling._VALUES_PER_THREAD = 1
    torch.set_num_threads(2)
    values = drawn((4, 3, 10, 5, 5), seed).requires_grad_()
    pipe.send(relu_pool(values, 3, 2).nan_to_num(7).tolist())


@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_forked_and_spawned_processes_have_threads_of_their_own(any_size, way):
    torch.set_num_threads(2)
    expected = relu_pool(drawn((4, 3, 10, 5, 5), 9), 3, 2).nan_to_num(7).tolist()
    context = multiprocessing.get_context(way)
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(9, there))
    child.start()
    assert here.poll(60), "the child hangs"
    assert here.recv() == expected
    child.join(60)
    assert child.exitcode == 0


def test_it_compiles_where_no_folder_may_be_written_to():
    program = (
        "import torch; from hypercover.classifiers.networks import pooling;"
        "values = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1, 1);"
        "print(type(pooling.forward._cache).__name__, "
        "pooling.CompiledReluPool.apply(values, 2, 0).item())"
    )
    # the only place left is one that is named nowhere
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | nowhere
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["NullCache", "3.0"]


@pytest.mark.parametrize(
    ("bands", "window", "count"), [(200, 9, 10), (220, 9, 9), (200, 29, 1)]
)
def test_lecture_network_takes_so_many_windows_that_20_mb_hold_its_first_layer(
    bands, window, count
):
    network = LectureNetwork(bands, 16, window)
    assert network.micro_batch_size() == count
    one = np.prod(network.convolutions[0](torch.zeros(1, 1, bands, window, window)).shape)
    assert count == max(1, int(20e6 // (4 * one)))
