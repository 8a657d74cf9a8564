"""The benchmark for a GPU: what it counts, what it knows, and that it runs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hypercover.classifiers.networks.catalog import build

PROGRAM = Path(__file__).parents[1] / "benchmarks/gpu.py"
SMALL = ("--epochs=2", "--rows=34", "--cols=40", "--bands=24", "--classes=3",
         "--train=60", "--device=cpu")  # fmt: skip


@pytest.fixture(scope="module")
def gpu():
    found = importlib.util.spec_from_file_location("gpu", PROGRAM)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def lecture(bands, classes):
    network = build("lecture", bands=bands, classes=classes, window=9)
    network.to_empty(device="cpu").reset(torch.Generator().manual_seed(0))
    return network


@pytest.mark.parametrize(("bands", "classes"), [(220, 58), (200, 16), (23, 3)])
def test_training_operations_are_those_that_pytorch_counts(gpu, bands, classes):
    network, count = lecture(bands, classes).train(), 2
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(count, bands, 9, 9)).sum().backward()
    assert counter.get_total_flops() == count * gpu.training_operations(bands, classes)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (5, 3), (16, 20)])
def test_map_operations_are_those_that_pytorch_counts(gpu, rows, cols):
    network = lecture(40, 5).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.randn(1, 40, rows + 8, cols + 8))
    assert counter.get_total_flops() == gpu.map_operations(40, 5, rows, cols)


@pytest.mark.parametrize(
    ("name", "peaks"),
    [
        ("NVIDIA H200", {"float32": 67, "TF32": 494.5, "bfloat16": 989.5}),
        ("NVIDIA H100 80GB HBM3", {"float32": 67, "TF32": 494.5, "bfloat16": 989.5}),
        ("NVIDIA H100 PCIe", {"float32": 51, "TF32": 378, "bfloat16": 756}),
        ("NVIDIA H100 NVL", {"float32": 60, "TF32": 417.5, "bfloat16": 835.5}),
        ("NVIDIA A100-SXM4-40GB", {"float32": 19.5, "TF32": 156, "bfloat16": 312}),
        ("NVIDIA A100 80GB PCIe", {"float32": 19.5, "TF32": 156, "bfloat16": 312}),
        ("Tesla V100-SXM2-16GB", {"float32": 15.7}),
        ("Tesla V100-PCIE-16GB", {"float32": 14}),
        ("Tesla P100-PCIE-16GB", {"float32": 9.3}),
        ("Tesla P100-SXM2-16GB", {"float32": 10.6}),
        ("Tesla K80", {"float32": 4.37}),
        ("NVIDIA GH200 480GB", {}),
        ("NVIDIA GeForce RTX 3090", {}),
    ],
)
def test_chips_are_known_by_the_name_that_pytorch_gives_them(gpu, name, peaks):
    expected = {kind: 1e12 * rate for kind, rate in peaks.items()}
    assert gpu.peaks_of(name) == pytest.approx(expected)


def test_scene_and_windows_have_the_sizes_asked_for(gpu):
    cube, labels = gpu.drawn_scene(70, 50, 24, 3)
    assert (cube.shape, labels.shape) == ((24, 70, 50), (70, 50))
    assert set(labels.ravel().tolist()) == {1, 2, 3}
    windows, codes = gpu.drawn_windows(cube, labels, 500)
    assert windows.shape == (500, 24, 9, 9)
    assert len({*zip(windows.rows.tolist(), windows.cols.tolist(), strict=True)}) == 500
    assert (codes == labels[windows.rows, windows.cols]).all()


def ran(*options):
    words = [sys.executable, str(PROGRAM), *SMALL, *map(str, options)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout


def test_it_runs_on_a_processor(tmp_path):
    said = ran("--peak", 1000, "--profile", tmp_path / "trace.json")
    for line in (
        r"Training: \S+ s for 2 epochs of 60 windows; \S+ s an epoch, \S+ ms a window; "
        r"400 epochs take \d+ s",
        r"Training: \S+ TFLOP/s, \S+ % of the peak, \S+ % of the product",
        r"Map: \S+ s, [\d,]+ pixels/s",
        r"Memory: \S+ GiB of main memory",
    ):
        assert re.search(rf"^{line}$", said, re.MULTILINE), (line, said)
    assert "convolution_backward" in said
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    ratio = re.fullmatch(r"ratio: (\S+)", said.splitlines()[-1])
    assert float(ratio[1]) > 0


def test_it_computes_in_mixed_precision_where_that_can_be_had():
    from hypercover.classifiers.precision import computing

    try:
        with computing("mixed", torch.device("cpu")):
            pass
    except ValueError:
        pytest.skip("this processor does not compute in bfloat16")
    said = ran("--precision", "mixed")
    assert said.count("product of matrices") == 2
