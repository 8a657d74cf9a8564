"""What one GPU makes of the lecture's training at full-scene size, and of the map.

The set-up: 33,396 windows of 9 × 9 pixels and 220 bands out of a scene of 1417 × 617
pixels with 58 classes, 400 epochs in batches of 50, then the class of every pixel.  The
scene is drawn here, so no file is needed; accuracy is not the point.  Printed are the
seconds of the training and of the map, and the rate in floating-point operations per
second that the network asks for, against the peak of the chip and against a product of
large matrices measured in the same run.  The last line is the share of that product's
rate that training reaches.

    python benchmarks/gpu.py [--precision mixed] [--epochs 400] [--profile trace.json]

A processor does the same with --device cpu and smaller sizes.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch.profiler import ProfilerActivity, profile

from hypercover.classifiers.cnn.acceleration import use_precision
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.inference import resolve_device
from hypercover.classifiers.networks.lecture import LectureNetwork
from hypercover.errors import ModelError
from hypercover.prediction.scene_prediction import predict_scene
from hypercover.scene.scene import Scene
from hypercover.windows.windows import Windows

WINDOW = 9
FIELD = 16
PROFILED = 20
"""Batches of the training that is profiled."""
CHIPS = {
    "H200 NVL": (60.0, 417.5, 835.5),
    "H200": (67.0, 494.5, 989.5),
    "H100 NVL": (60.0, 417.5, 835.5),
    "H100 PCIe": (51.0, 378.0, 756.0),
    "H100": (67.0, 494.5, 989.5),
    "A100": (19.5, 156.0, 312.0),
    "V100-PCIE": (14.0, None, None),
    "V100": (15.7, None, None),
    "P100-PCIE": (9.3, None, None),
    "P100": (10.6, None, None),
    "K80": (4.37, None, None),
}
"""Peak in 10^12 operations per second: float32, TF32 and bfloat16, dense matrices.

From NVIDIA's data sheets (H200, H100, A100 80GB, V100, Tesla P100, Tesla K80), where
rates with sparsity are halved; a K80 is two chips and this is one of them, boosted.
A name stands before those it contains, as PyTorch writes them."""
PEAKS = ("float32", "TF32", "bfloat16")

Cube = npt.NDArray[np.int16]
Limits = tuple[float, float | None]
"""Operations per second of a product of matrices, measured, and of the chip, if known."""


def layers(
    bands: int, classes: int, rows: int, cols: int, window: int = WINDOW
) -> Iterator[int]:
    """Count the multiplications of each layer of the lecture's network, forward.

    For a tile of rows × cols pixels; a window is a tile of 9 × 9.
    """
    depth, channels = bands, 1
    for filters, pool in ((48, 3), (32, 3), (32, 2)):
        depth, rows, cols = depth - 4, rows - 2, cols - 2
        yield filters * channels * 5 * 3 * 3 * depth * rows * cols
        depth = depth // pool + (4 if pool == 3 else 0)
        channels = filters
    reach = window - 6
    rows, cols = rows - reach + 1, cols - reach + 1
    yield channels * depth * 128 * reach**2 * rows * cols
    yield 128 * 128 * rows * cols
    yield 128 * classes * rows * cols


def training_operations(bands: int, classes: int) -> int:
    """Count the operations of a training window: forward, and backward twice that.

    The first layer has no gradient of its input.
    """
    counts = list(layers(bands, classes, WINDOW, WINDOW))
    return 2 * (3 * sum(counts) - counts[0])


def map_operations(bands: int, classes: int, rows: int, cols: int) -> int:
    """Count the operations of a map in one pass; tiles add those of their margins."""
    margin = WINDOW - 1
    return 2 * sum(layers(bands, classes, rows + margin, cols + margin))


def drawn_scene(rows: int, cols: int, bands: int, classes: int) -> tuple[Cube, Cube]:
    """Draw a scene of square fields; return cube (band, row, col) and class codes."""
    chance = np.random.default_rng(0)
    fields = np.add.outer(7 * (np.arange(rows) // FIELD), np.arange(cols) // FIELD)
    labels = (1 + fields % classes).astype(np.int16)
    spectra = chance.integers(500, 4000, (bands, classes + 1), dtype=np.int16)
    cube = np.empty((bands, rows, cols), np.int16)
    for band, means in zip(cube, spectra, strict=True):
        band[:] = means[labels] + chance.integers(-90, 90, labels.shape, dtype=np.int16)
    return cube, labels


def drawn_windows(cube: Cube, labels: Cube, count: int) -> tuple[Windows, Cube]:
    """Draw training pixels; return their windows and classes."""
    chosen = np.random.default_rng(1).choice(labels.size, count, replace=False)
    rows, cols = np.unravel_index(np.sort(chosen), labels.shape)
    return Windows(cube, rows, cols, WINDOW), labels[rows, cols]


def network(asked: argparse.Namespace, epochs: int) -> CNNClassifier:
    """Return the lecture's network as it is to be trained."""
    return CNNClassifier(
        "lecture",
        epochs=epochs,
        precision=asked.precision,
        compile=asked.compile,
        random_state=0,
        device=asked.device,
    )


def wait(device: torch.device) -> None:
    """Let a GPU come to the end of what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(device: torch.device, kind: str, seconds: float = 0.5) -> float:
    """Measure the operations per second of a product of square matrices."""
    side = 8192 if device.type == "cuda" else 1024
    numbers = getattr(torch, kind)
    left, right = (torch.randn(side, side).to(device, numbers) for _ in range(2))
    rates, end = [], time.perf_counter() + seconds
    while len(rates) < 3 or time.perf_counter() < end:
        wait(device)
        began = time.perf_counter()
        left @ right
        wait(device)
        rates.append(2 * side**3 / (time.perf_counter() - began))
    return max(rates)


def peaks_of(name: str) -> dict[str, float]:
    """Return the peaks of a chip by the name that PyTorch gives it, operations per second."""
    words = set(name.replace("-", " ").split())
    for chip, rates in CHIPS.items():
        if set(chip.replace("-", " ").split()) <= words:
            pairs = zip(PEAKS, rates, strict=True)
            return {kind: 1e12 * rate for kind, rate in pairs if rate is not None}
    return {}


def show_rate(what: str, rate: float, limits: Limits) -> None:
    """Print a rate and what it is a share of."""
    product, peak = limits
    against = f", {100 * rate / peak:.1f} % of the peak" if peak else ""
    print(
        f"{what}: {rate / 1e12:.4g} TFLOP/s{against}, {100 * rate / product:.1f} % of the "
        "product"
    )


def epoch_seconds(history: list[dict[str, float]]) -> float:
    """Return the median of the epochs' seconds: the first one warms up."""
    ends = [0.0, *(record["seconds"] for record in history)]
    return statistics.median(np.diff(ends))


def memory(device: torch.device) -> str:
    """Say the most memory taken since the program began."""
    host = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = f"{host / 2**30:.2f} GiB of main memory"
    if device.type == "cuda":
        said += f", {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of the GPU's"
    return said


def show_profile(
    asked: argparse.Namespace, windows: Windows, codes: Cube, device: torch.device
) -> None:
    """Train a few batches under the profiler; print its table and write its trace."""
    few = slice(0, PROFILED * LectureNetwork.recipe.batch_size)
    kinds = [ProfilerActivity.CPU]
    kinds += [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as watched:
        network(asked, 1).fit(windows[few], codes[few])
        wait(device)
    busy = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(watched.key_averages().table(sort_by=busy, row_limit=25))
    watched.export_chrome_trace(str(asked.profile))
    print(f"Trace for chrome://tracing: {asked.profile}\n")


def show_training(
    asked: argparse.Namespace,
    windows: Windows,
    codes: Cube,
    limits: Limits,
) -> tuple[CNNClassifier, float]:
    """Train; print what it took; return the network and the rate it reached."""
    began = time.perf_counter()
    trained = network(asked, asked.epochs).fit(windows, codes)
    seconds = time.perf_counter() - began
    one = epoch_seconds(trained.history_)
    # classes that no training pixel shows have no output
    needed = training_operations(asked.bands, len(trained.classes_)) * len(windows)
    print(
        f"Training: {seconds:.1f} s for {asked.epochs} epochs of {len(windows):,} windows; "
        f"{one:.3f} s an epoch, {1000 * one / len(windows):.4f} ms a window; 400 epochs "
        f"take {400 * one:.0f} s"
    )
    show_rate("Training", needed / one, limits)
    return trained, needed / one


def show_map(trained: CNNClassifier, cube: Cube, limits: Limits) -> None:
    """Map the scene; print what it took."""
    scene = Scene(xr.DataArray(cube, dims=("band", "y", "x")), name="drawn")
    began = time.perf_counter()
    predict_scene(trained, scene)
    seconds = time.perf_counter() - began
    bands, rows, cols = cube.shape
    print(f"Map: {seconds:.2f} s, {rows * cols / seconds:,.0f} pixels/s")
    needed = map_operations(bands, len(trained.classes_), rows, cols)
    show_rate("Map", needed / seconds, limits)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--rows", type=int, default=1417)
    parser.add_argument("--cols", type=int, default=617)
    parser.add_argument("--bands", type=int, default=220)
    parser.add_argument("--classes", type=int, default=58)
    parser.add_argument("--train", type=int, default=33_396, help="training windows")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("float32", "mixed"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak", type=float, help="peak of the chip in TFLOP/s")
    parser.add_argument("--profile", type=Path, help="trace of a few batches to write")
    asked = parser.parse_args()
    try:
        with use_precision(asked.precision, resolve_device(asked.device)):
            """What this machine cannot do is refused before anything is drawn."""
    except ModelError as error:
        parser.error(str(error))
    return asked


def limits_of(
    device: torch.device, precision: str, known: dict[str, float], peak: float | None
) -> Limits:
    """Measure a product of matrices and find the peak for a precision; print them."""
    kind = "bfloat16" if precision == "mixed" else "float32"
    product = product_rate(device, kind)
    most = 1e12 * peak if peak else known.get(kind)
    said = f"{most / 1e12:g} TFLOP/s" if most else "not known; give it by --peak"
    print(f"{kind}: product of matrices {product / 1e12:.4g} TFLOP/s, peak {said}")
    return product, most


def main() -> None:
    """Measure and print."""
    asked = options()
    device = resolve_device(asked.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    print(f"{name}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    known = peaks_of(name)
    if "TF32" in known:
        print(f"TF32, which is not used: peak {known['TF32'] / 1e12:g} TFLOP/s")
    own = limits_of(device, asked.precision, known, asked.peak)
    # a map is always computed in float32
    full = (
        own if asked.precision == "float32" else limits_of(device, "float32", known, None)
    )
    cube, labels = drawn_scene(asked.rows, asked.cols, asked.bands, asked.classes)
    windows, codes = drawn_windows(cube, labels, asked.train)
    if asked.profile is not None:
        show_profile(asked, windows, codes, device)
    trained, rate = show_training(asked, windows, codes, own)
    show_map(trained, cube, full)
    print(f"Memory: {memory(device)}")
    print(f"ratio: {rate / own[0]:.3f}")


if __name__ == "__main__":
    main()
