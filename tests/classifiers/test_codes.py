"""Class codes as JSON: exact on the way back, nothing believed on the way in."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.classifiers.codes import codes_from_json, codes_to_json
from hypercover.errors import ModelError


@given(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=20))
def test_whole_numbers_come_back_exactly(codes):
    classes = np.array(sorted(codes), dtype=np.int64)
    back = codes_from_json(json.loads(json.dumps(codes_to_json(classes))))
    np.testing.assert_array_equal(back, classes)
    assert back.dtype == classes.dtype


@pytest.mark.parametrize("kind", ["u1", "<U5", "O", "f8", "i2"])
def test_the_type_comes_back(kind):
    classes = np.array(["corn", "oats"] if kind in ("<U5", "O") else [1, 2], dtype=kind)
    back = codes_from_json(json.loads(json.dumps(codes_to_json(classes))))
    assert back.tolist() == classes.tolist()
    assert back.dtype.kind == classes.dtype.kind


@pytest.mark.parametrize(
    "classes", [np.array([b"a", b"b"]), np.array([1, "a"], dtype=object)]
)
def test_other_codes_are_not_saved(classes):
    with pytest.raises(ModelError, match="Only whole numbers and names"):
        codes_to_json(classes)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"type": "u1"},
        {"type": "u1", "values": 3},
        {"type": "u1", "values": [1]},
        {"type": "u1", "values": [2, 1]},
        {"type": "u1", "values": [1, 256]},
        {"type": "u1", "values": [1, True]},
        {"type": "u1", "values": ["1", "2"]},
        {"type": "(1000000,)u1", "values": [1, 2]},
        {"type": "i4,i4", "values": [1, 2]},
        {"type": {"names": ["a"]}, "values": [1, 2]},
        {"type": "V8", "values": [1, 2]},
        {"type": "i8", "values": [1, 2**63]},
        {"type": "u1", "values": list(range(256)) * 300},
    ],
)
def test_what_no_one_saved_is_refused(value):
    with pytest.raises(ModelError, match="class codes"):
        codes_from_json(value)


def test_a_huge_text_width_takes_no_memory():
    back = codes_from_json({"type": "U500000000", "values": ["a", "b"]})
    assert back.dtype == np.dtype("U1")
