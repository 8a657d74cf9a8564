import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
from hypercover.classifiers.cnn.process_group import ProcessGroup
from hypercover.errors import ModelError

PROGRAM = """
import json, os, sys
from pathlib import Path
import numpy as np, torch
from torch import distributed
from hypercover.classifiers.cnn import checkpoint, training
from hypercover.classifiers.cnn.cnn_classifier import CNNClassifier
torch.set_num_threads(1)
checkpoint.INTERVAL, training._CHECKPOINT_STEPS = 0.0, 1
out, settings, checkpoints = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
distributed.init_process_group("gloo")
rank = distributed.get_rank()
(out / f"pid-{rank}-{os.environ['TORCHELASTIC_RESTART_COUNT']}").write_text(str(os.getpid()))
with np.load(out / "data.npz") as file:
    X, y, held, codes = (file[name] for name in ("X", "y", "held", "codes"))
cnn = CNNClassifier(random_state=0, **settings)
calls = []
cnn.progress = calls.append
cnn.fit(X, y, validation=(held, codes), checkpoint=checkpoints[0] if checkpoints else None)
weights = cnn.state()[1]
(out / f"rank-{rank}.json").write_text(json.dumps([cnn.history_, len(calls)]))
np.savez(out / f"rank-{rank}.npz", **weights)
distributed.destroy_process_group()
"""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def data(count=53, bands=25, side=7):
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    X = rng.normal(size=(count, bands, side, side)) + y[:, None, None, None]
    held, codes = X[:11] + rng.normal(size=X[:11].shape), y[:11]
    return {"X": X, "y": y, "held": held, "codes": codes}


SPECTRAL = {
    "network": "spectral-1d",
    "epochs": 4,
    "batch_size": 16,
    "recipe": {"optimiser": "sgd", "learning_rate": 0.05, "momentum": 0.5, "clip": 1.0},
}


def torchrun(out, settings, *checkpoints, restarts=0):
    """Start two processes that train one network together."""
    np.savez(out / "data.npz", **data())
    (out / "program.py").write_text(PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = [out / "program.py", out, json.dumps(settings), *checkpoints]
    environment = os.environ | {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, *launcher, f"--max-restarts={restarts}", *program],
        env=environment,
    )


def found(out, rank=0):
    history, calls = json.loads((out / f"rank-{rank}.json").read_text())
    with np.load(out / f"rank-{rank}.npz") as file:
        return {name: file[name] for name in file.files}, history, calls


def alone(settings):
    X, y, held, codes = data().values()
    cnn = CNNClassifier(random_state=0, **settings).fit(X, y, validation=(held, codes))
    return cnn.state()[1], cnn.history_


def test_this_process_alone_is_the_world():
    assert ProcessGroup.current() == ProcessGroup(0, 1)
    network, value = torch.nn.Linear(2, 2), torch.ones(2)
    assert ProcessGroup.current().data_parallel(network) is network
    assert torch.equal(ProcessGroup.current().sum(value), value)
    assert ProcessGroup.current().broadcast(7, torch.device("cpu")) == 7


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_are_even_and_leave_nothing_out(size):
    for count in (7, 8, 20, 64):
        shares = [ProcessGroup(rank, size).shard(count) for rank in range(size)]
        assert [each for share in shares for each in share] == list(range(count))
        lengths = [len(share) for share in shares]
        assert max(lengths) - min(lengths) <= 1


def test_batches_that_cannot_be_shared_are_refused():
    ProcessGroup(0, 1).check_batch_size(batch_size=1, windows=2, minimum_batch=1)
    ProcessGroup(0, 4).check_batch_size(batch_size=8, windows=8, minimum_batch=2)
    with pytest.raises(ModelError, match="need 8 windows for it, got a batch size of 7"):
        ProcessGroup(0, 4).check_batch_size(batch_size=7, windows=100, minimum_batch=2)
    with pytest.raises(ModelError, match="got 3 training windows; use fewer processes"):
        ProcessGroup(0, 4).check_batch_size(batch_size=64, windows=3, minimum_batch=1)


MIXED = {"jitter": 0.1, "band_dropout": 0.1, "mix": 0.4, "class_weight": "balanced"}


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "lecture", "epochs": 2, "batch_size": 26, "recipe": MIXED},
        pytest.param(
            SPECTRAL | {"recipe": SPECTRAL["recipe"] | MIXED | {"symmetries": True}},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["lecture", "spectral-1d"],
)
def test_two_processes_learn_what_one_learns(tmp_path, settings):
    assert torchrun(tmp_path, settings).wait() == 0
    weights, history, calls = found(tmp_path)
    others, same, silent = found(tmp_path, rank=1)
    wanted, records = alone(settings)
    for name, array in wanted.items():
        np.testing.assert_allclose(weights[name], array, atol=1e-5)
        np.testing.assert_array_equal(others[name], weights[name])
    for record, other, by_one in zip(history, same, records, strict=True):
        assert record.keys() == by_one.keys()
        for name in record.keys() - {"seconds"}:
            assert record[name] == pytest.approx(by_one[name], abs=1e-5)
            assert record[name] == other[name]
        assert record["samples"] == by_one["samples"] == 53 * record["epoch"]
    assert (calls, silent) == (len(history), 0)


@pytest.mark.slow
def test_a_killed_process_starts_again_and_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = {"epochs": 12, "batch_size": 16, "recipe": {"mix": 0.4, "patience": 5}}
    for out in (whole, killed):
        out.mkdir()
    uninterrupted = torchrun(whole, settings)
    process = torchrun(killed, settings, killed / "checkpoints", restarts=3)
    while not list(killed.glob("checkpoints/step-*9.json")) and process.poll() is None:
        time.sleep(0.001)
    os.kill(int((killed / "pid-1-0").read_text()), signal.SIGKILL)
    assert (process.wait(), uninterrupted.wait()) == (0, 0)
    assert (killed / "pid-0-1").exists()
    for rank in (0, 1):
        weights, history, _ = found(killed, rank)
        wanted, records, _ = found(whole, rank)
        for name, array in wanted.items():
            np.testing.assert_array_equal(weights[name], array)
        for record, other in zip(history, records, strict=True):
            del record["seconds"], other["seconds"]
            assert record == other
