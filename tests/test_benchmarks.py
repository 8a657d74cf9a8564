"""The benchmarks: that all can be called, and what those for a GPU and windows measure."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hypercover.classifiers.networks.network_catalog import build

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAM = BENCHMARKS / "gpu.py"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if path.name != "data.py")
CALLS = """
import contextlib, io, json, runpy, sys
sys.path.insert(0, ".")
for script, *words in json.loads(sys.argv[1]):
    sys.argv, said, code = [script, *words], io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException as error:
            code = repr(error)
    print(json.dumps([code, said.getvalue()]))
"""
"""Calls programs one after another in one process, which loads PyTorch once."""
SMALL = (
    "--epochs=2",
    "--rows=34",
    "--cols=40",
    "--bands=24",
    "--classes=3",
    "--train=60",
    "--device=cpu",
)


def loaded(name):
    found = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gpu():
    return loaded("gpu")


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


def called(calls, **environment):
    """Call benchmarks; return the exit code of each and what it said."""
    variables = {
        name: each for name, each in os.environ.items() if name != "HYPERCOVER_DATA"
    }
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(calls)],
        capture_output=True,
        text=True,
        check=True,
        cwd=BENCHMARKS,
        env=variables | environment,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_benchmark_can_be_asked_what_it_does():
    answers = called([[script, "--help"] for script in SCRIPTS])
    for script, (code, said) in zip(SCRIPTS, answers, strict=True):
        assert (script, code) == (script, 0)
        assert said.startswith(f"usage: {script}")
        text = (BENCHMARKS / script).read_text()
        assert re.search(r"^    print\(f\"(\\n)?ratio: ", text, re.MULTILINE), script


def test_what_a_benchmark_lacks_is_one_sentence():
    real = [
        script
        for script in SCRIPTS
        if "check_data(parser)" in (BENCHMARKS / script).read_text()
    ]
    assert len(real) >= 8
    asked = [[script] for script in real] + [["gpu.py", "--device", "cuda"]]
    answers = called(asked, CUDA_VISIBLE_DEVICES="")
    for (script, *_), (code, said) in zip(asked, answers, strict=True):
        assert (script, code) == (script, 2)
        lacks = (
            "PyTorch finds no usable GPU" if script == "gpu.py" else "set HYPERCOVER_DATA"
        )
        assert lacks in said.splitlines()[-1]
        assert said.splitlines()[-1].startswith(f"{script}: error: ")
    ((code, said),) = called([["honest_table.py"]], HYPERCOVER_DATA="/no/such/folder")
    assert code == 2
    assert said.endswith("names /no/such/folder, which is no folder; name another.\n")


def ran(*options):
    words = [sys.executable, str(PROGRAM), *SMALL, *map(str, options)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
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


@pytest.mark.slow
def test_it_computes_in_mixed_precision_where_that_can_be_had():
    from hypercover.classifiers.cnn.acceleration import use_precision

    try:
        with use_precision("mixed", torch.device("cpu")):
            pass
    except ValueError:
        pytest.skip("this processor does not compute in bfloat16")
    said = ran("--precision", "mixed")
    assert said.count("product of matrices") == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_windows(tmp_path):
    """From two full pieces on: 102 MB more before compression, out of one scene."""
    windows = loaded("windows")
    image, labels = windows.simulated(tmp_path, share=0, bands=60)
    peaks = []
    for count in (17_500, 7_000):
        windows.thin(labels, count)
        out = tmp_path / "W.h5"
        peaks.append(windows.command("windows", image, "-l", labels, "-o", out)[1])
        assert out.stat().st_size > 1000 * count
        out.unlink()
    many, few = peaks
    assert many - few < 30e6, f"{many:,} bytes for many windows, {few:,} for few"


@pytest.mark.slow
def test_the_benchmark_of_window_files_runs(tmp_path):
    words = ["--share", "0.001", "--folder", str(tmp_path)]
    call = [sys.executable, str(BENCHMARKS / "windows.py"), *words]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    *_, size, peak, ratio = done.stdout.splitlines()
    assert size.startswith(f"Bytes: {334 * 220 * 81 * 2:,} before compression, ")
    held = int(re.fullmatch(r"Peak memory: ([\d,]+) MiB", peak)[1].replace(",", ""))
    assert float(ratio.removeprefix("ratio: ")) == pytest.approx(1024 / held, abs=0.02)
    assert list(tmp_path.iterdir()) == []
