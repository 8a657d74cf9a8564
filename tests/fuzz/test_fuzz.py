"""A short hunt among spoilt files: read, or refused in a sentence, within limits."""

import os
import random

import numpy as np
import pytest
from mutants import MEMORY, findings, mutate
from seeds import SEEDS, Seed

from hypercover.errors import CallError

FEW = 6
"""Mutants of each format; `make fuzz` looks at as many as there is time for."""
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", SEEDS)
def test_spoilt_files_are_read_or_refused_in_a_sentence(name, tmp_path):
    found = [one for one in findings(name, SEEDS[name], range(FEW), tmp_path) if one]
    assert not found, "\n".join(f"{one.number} {one.what}: {one.said}" for one in found)


SOUND = b"seed" * 64


def made(folder):
    (folder / "a").write_bytes(SOUND)
    return [folder / "a"]


def spoilt(deed):
    """Read what is sound, and do something to what is not."""

    def read(folder):
        if (folder / "a").read_bytes() != SOUND:
            deed()

    return Seed(made, read)


def hang():
    while True:
        pass


def fill_memory():
    np.ones(2 * MEMORY, np.uint8)


def refuse():
    raise CallError("A sentence.")


@pytest.mark.parametrize(
    ("deed", "what"),
    [
        (lambda: 1 // 0, "traceback"),
        (os.abort, "crash"),
        (hang, "hang"),
        (fill_memory, "memory"),
    ],
)
def test_each_kind_of_finding_is_found(tmp_path, monkeypatch, deed, what):
    """Without this the hunt could not fail."""
    monkeypatch.setattr("mutants.PROCESSOR_SECONDS", 1)
    found = list(findings("a", spoilt(deed), range(1), tmp_path))
    assert [one and one.what for one in found] == [what]


def test_what_is_refused_in_a_sentence_is_no_finding(tmp_path):
    assert list(findings("a", spoilt(refuse), range(2), tmp_path)) == [None, None]


def test_mutants_repeat_and_differ():
    data = b'{"code": 12, "name": "Corn"}' * 4
    first = [mutate(data, random.Random(f"x {number}")) for number in range(60)]
    again = [mutate(data, random.Random(f"x {number}")) for number in range(60)]
    assert first == again
    assert len(set(first)) > 50
    assert mutate(b"", random.Random(1)) is not None
