"""LIBSVM data files: exact both ways, and bad ones refused by file, line and reason."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from hypercover.errors import CallError
from hypercover.libsvm import data
from hypercover.libsvm.data import (
    read_libsvm,
    stream_libsvm,
    summarize_libsvm,
    write_libsvm,
)

TYPES = ["float64", "float32", "float16", "uint8", "int16", "uint16", "int32", "bool"]


def samples(dtype, **shape):
    elements = None
    if np.dtype(dtype).kind == "f":
        width = 8 * np.dtype(dtype).itemsize
        elements = st.floats(allow_nan=False, allow_infinity=False, width=width)
    sides = arrays.array_shapes(min_dims=2, max_dims=2, max_side=6)
    return arrays.arrays(dtype, sides, elements=elements)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_value_comes_back_exactly(dtype, sparse, tmp_path_factory):
    path = tmp_path_factory.mktemp("exact") / "x.el"

    @given(samples(dtype), st.integers(-(2**31) + 1, 2**31 - 1))
    def exact(values, label):
        labels = label - np.sign(label) * np.arange(len(values))
        write_libsvm(path, [(labels, values)], sparse=sparse)
        back, read = read_libsvm(path, values.shape[1], dense=not sparse, dtype=dtype)
        np.testing.assert_array_equal(back, labels)
        assert read.tobytes() == np.ascontiguousarray(values).tobytes()
        assert read.dtype == values.dtype

    exact()


@given(st.data())
def test_scikit_learn_reads_what_we_write_and_the_other_way_round(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("oracle")
    # scikit-learn writes 16 digits, which carries the largest doubles over the edge.
    values = np.clip(data.draw(samples("float64")), -1e300, 1e300)
    labels = data.draw(
        arrays.arrays(np.int64, len(values), elements=st.integers(-1000, 1000))
    )
    features = values.shape[1]
    write_libsvm(folder / "ours.el", [(labels, values)])
    known = {"zero_based": False, "n_features": features}
    X, y = load_svmlight_file(str(folder / "ours.el"), **known)
    np.testing.assert_array_equal(X.toarray(), values)
    np.testing.assert_array_equal(y, labels)
    dump_svmlight_file(values, labels, str(folder / "theirs.el"), zero_based=False)
    X, y = load_svmlight_file(str(folder / "theirs.el"), **known)
    back, read = read_libsvm(folder / "theirs.el", features)
    np.testing.assert_array_equal(read, X.toarray())
    np.testing.assert_array_equal(back, y)


def test_digits_are_no_more_than_are_needed(tmp_path):
    values = np.array([[0.1, 1 / 3, 2.5e-30, 16777216]])
    write_libsvm(tmp_path / "x.el", [([1], values.astype(np.float32))])
    wanted = "1 1:0.1 2:0.33333334 3:2.5e-30 4:16777216.0\n"
    assert (tmp_path / "x.el").read_text() == wanted
    write_libsvm(tmp_path / "x.el", [([1], values)])
    wanted = "1 1:0.1 2:0.3333333333333333 3:2.5e-30 4:16777216.0\n"
    assert (tmp_path / "x.el").read_text() == wanted
    write_libsvm(tmp_path / "x.el", [([-1], np.array([[0, 9999]], np.int16))])
    assert (tmp_path / "x.el").read_text() == "-1 1:0 2:9999\n"


def test_sparse_lines_leave_out_zeros_and_may_be_bare(tmp_path):
    values = np.array([[0, 2.0, 0], [0, 0, 0], [-0.0, 0, 1]])
    write_libsvm(tmp_path / "x.el", [([3, 1, 2], values)], sparse=True)
    assert (tmp_path / "x.el").read_text() == "3 2:2.0\n1\n2 1:-0.0 3:1.0\n"
    labels, read = read_libsvm(tmp_path / "x.el", 5)
    assert labels.tolist() == [3, 1, 2]
    np.testing.assert_array_equal(read, np.pad(values, ((0, 0), (0, 2))))


def test_blocks_become_one_file_and_are_read_in_bounded_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_PIECE", 97)
    monkeypatch.setattr(data, "_CELLS", 64)
    chance = np.random.default_rng(0)
    blocks = [(chance.integers(1, 9, n), chance.normal(size=(n, 7))) for n in (3, 40, 1)]
    path = tmp_path / "x.el"
    assert write_libsvm(path, blocks) == 44
    labels = np.concatenate([block[0] for block in blocks])
    values = np.concatenate([block[1] for block in blocks])
    done = []
    pieces = list(stream_libsvm(path, 7, dense=True, progress=lambda *at: done.append(at)))
    assert max(len(piece[0]) for piece in pieces) * 7 <= 64
    np.testing.assert_array_equal(np.concatenate([piece[0] for piece in pieces]), labels)
    np.testing.assert_array_equal(np.concatenate([piece[1] for piece in pieces]), values)
    assert done[-1] == (path.stat().st_size, path.stat().st_size)
    back, read = read_libsvm(path, 7)
    np.testing.assert_array_equal(back, labels)
    np.testing.assert_array_equal(read, values)


def test_tabs_carriage_returns_and_spare_blanks_are_nothing(tmp_path):
    (tmp_path / "x.el").write_bytes(b"  +3\t1:.5  2:1e3 \r\n2.0 1:-5. 3:+7\t\r\n")
    labels, values = read_libsvm(tmp_path / "x.el", 3)
    assert labels.tolist() == [3, 2]
    assert values.tolist() == [[0.5, 1000, 0], [-5, 0, 7]]


def test_survey_counts_without_being_told_the_number_of_features(tmp_path):
    (tmp_path / "x.el").write_text("3 1:1 2:1\n-1 2:4 7:1\n3 1:2\n")
    found = summarize_libsvm(tmp_path / "x.el")
    assert (found.samples, found.largest, found.dense) == (3, 7, False)
    assert found.per_class == {-1: 1, 3: 2}
    (tmp_path / "x.el").write_text("3 1:1 2:1\n1 1:4 2:1\n")
    assert summarize_libsvm(tmp_path / "x.el").dense


BAD = [
    (b"1 1:2\n1 0:1\n", "line 2: invalid index 0"),
    (
        b"1 2:1 1:2\n",
        "line 1: feature indices in SVMlight/LibSVM data file should be sorted",
    ),
    (b"1 1:1 1:2\n", "should be sorted and unique"),
    (b"1 1:1 2:2 3:3 4:4\n1 1:1 3:3 4:4\n", "line 2: it has 3 of 4 values"),
    (b"1\n", "line 1: it has 0 of 4 values"),
    (b"1 1:nan\n", "line 1: a value is not a finite number"),
    (b"1 1:-inf\n", "line 1: a value is not a finite number"),
    (b"1 1:1e999\n", "line 1: a value is not a finite number"),
    (b"1 1:1 1000000000:1\n", "the index 1000000000 is above the number of features, 4"),
    (b"1 99999999999999999999999999:1\n", "is above the number of features"),
    (b"1.5 1:1\n", "line 1: the label 1.5 is not a class code"),
    (
        b"corn 1:1\n",
        "line 1: could not convert string to float: b'corn'; write label index",
    ),
    (b"1,2 1:1\n", "could not convert string to float: b'1,2'"),
    (b"nan 1:1\n", "the label nan is not a class code"),
    (b"1e300 1:1\n", "the label 1e+300 is not"),
    (b"1e999 1:1\n", "the label inf is not"),
    (b"1 1:abc\n", "could not convert string to float: b'abc'"),
    (b"1 1:1_000\n", "numbers must be written without underscores"),
    (b"1 1:0x10\n", "could not convert string to float: b'0x10'"),
    (b"1 1:2-3\n", "b'2-3'"),
    (b"1 1:1.2.3 2:+\n", "b'1.2.3'"),
    (b"1 1:\n", "could not convert string to float: b''"),
    (b"1 1: 2\n", "could not convert string to float: b''"),
    (b"1 1:2:3\n", "b'2:3'"),
    (b"1 :2\n", "invalid literal for int"),
    (b"1 -1:2\n", "invalid index -1"),
    (b"1 1.0:2\n", "invalid literal for int"),
    (b"1 2\n", "line 1: a feature is not index:value"),
    (b"1 1:2 7\n", "line 1: a feature is not index:value"),
    (b"1:2\n", "b'1:2'"),
    (b"\n", "line 1: the line is empty"),
    (b"1 1:1 2:1 3:1 4:1\n\n1 1:1\n", "line 2: the line is empty"),
    (b"# a comment\n", "line 1: the line is empty or a comment"),
    (b"1 1:1 2:1 3:1 4:1\n1 1:1 2:1 3", "line 2: a feature is not index:value"),
    (b"1 1:1 2:1 3:1 4:1\n1 1:1 2:1 3:0.", "line 2: it has 3 of 4 values"),
    (b"\x00\xff\x80 1:1\n", "line 1: could not convert string to float"),
    (b"1 1:" + b"9" * 99 + b"x\n", "line 1: could not convert string to float: b'9999"),
    (b"1 1:1\r1 2:7\n1 1:x\n", "line 1: "),
]


@pytest.mark.parametrize(("data", "said"), BAD)
def test_bad_input_is_one_sentence_with_file_and_line(data, said, tmp_path):
    path, dense = tmp_path / "bad.el", "of 4 values" in said
    path.write_bytes(data)
    with pytest.raises(CallError) as refused:
        read_libsvm(path, 4, dense=dense)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}, line ")
    assert said in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("piece", [2**22, 7])
def test_a_last_line_without_a_line_break_is_a_line(piece, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_PIECE", piece)
    path = tmp_path / "x.el"
    path.write_bytes(b"1 1:1 2:2\n2 1:3 2:4")
    labels, values = read_libsvm(path, 2)
    theirs, codes = load_svmlight_file(str(path), n_features=2, zero_based=False)
    np.testing.assert_array_equal(labels, codes)
    np.testing.assert_array_equal(values, theirs.toarray())
    assert summarize_libsvm(path).samples == 2


def test_a_wrong_line_is_named_far_into_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_PIECE", 50)
    lines = [b"1 1:1 2:1\n"] * 100
    lines[76] = b"1 2:1 1:1\n"
    (tmp_path / "x.el").write_bytes(b"".join(lines))
    with pytest.raises(CallError, match=r"x\.el, line 77: feature indices"):
        summarize_libsvm(tmp_path / "x.el")


def test_an_empty_and_a_missing_file_are_named(tmp_path):
    (tmp_path / "none.el").touch()
    with pytest.raises(CallError, match=r"none\.el is empty; give a LIBSVM data file\."):
        read_libsvm(tmp_path / "none.el", 3)
    with pytest.raises(CallError, match=r"gone\.el cannot be read \(No such file"):
        read_libsvm(tmp_path / "gone.el", 3)


def test_a_line_without_end_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_LONGEST", 1000)
    monkeypatch.setattr(data, "_PIECE", 100)
    (tmp_path / "x.el").write_bytes(b"1 1:1\n" + b"1" * 5000)
    with pytest.raises(CallError, match="line 2: the line is longer than"):
        summarize_libsvm(tmp_path / "x.el")


def test_a_huge_index_or_number_of_features_allocates_nothing(tmp_path):
    (tmp_path / "x.el").write_bytes(b"1 1000000000:1\n")
    with pytest.raises(CallError, match="above the number of features, 1000000"):
        summarize_libsvm(tmp_path / "x.el")
    with pytest.raises(CallError, match="must be from 1 to 1,000,000, got 1000000000"):
        read_libsvm(tmp_path / "x.el", 10**9)
    (tmp_path / "x.el").write_bytes(b"1\n" * 300_000)
    with pytest.raises(CallError, match=r"declares 2,235\.2 GiB"):
        read_libsvm(tmp_path / "x.el", 10**6)
    first = next(stream_libsvm(tmp_path / "x.el", 10**6))
    assert first[1].size <= data._CELLS


@pytest.mark.parametrize(
    ("labels", "values", "said"),
    [
        ([1.0], [[1.0]], "labels must be integers, got the type float64"),
        ([1], [[np.nan]], "Feature 1 of sample 1 is nan"),
        ([1, 1], [[1.0, 2.0], [3.0, np.inf]], "Feature 2 of sample 2 is inf"),
        ([1], [[2**60]], "Feature 1 of sample 1 is 1152921504606846976"),
        ([1], [["a"]], "must be numbers of at most 64 bits"),
        ([1], [[1j]], "must be numbers of at most 64 bits"),
        ([1], [1.0], r"got shapes \(1,\) and \(1,\)"),
        ([1, 2], [[1.0]], r"got shapes \(2,\) and \(1, 1\)"),
        ([1], np.empty((1, 0)), "from 1 to 1,000,000, got 0"),
        (np.empty(0, int), np.empty((0, 3)), "no samples to write"),
    ],
)
def test_what_no_file_can_hold_is_not_written(labels, values, said, tmp_path):
    with pytest.raises(CallError, match=said):
        write_libsvm(tmp_path / "x.el", [(labels, values)])
    assert list(tmp_path.iterdir()) == []


def test_blocks_of_other_widths_are_refused(tmp_path):
    blocks = [([1], [[1.0, 2.0]]), ([1], [[1.0]])]
    with pytest.raises(CallError, match="got 1 after 2"):
        write_libsvm(tmp_path / "x.el", blocks)
    assert list(tmp_path.iterdir()) == []


def test_values_that_a_type_cannot_hold_are_said(tmp_path):
    (tmp_path / "x.el").write_text("1 1:0.5\n")
    with pytest.raises(
        CallError, match=r"holds the value 0\.5, which int16 cannot represent"
    ):
        read_libsvm(tmp_path / "x.el", 1, dtype=np.int16)
    (tmp_path / "x.el").write_text("1 1:1e300\n")
    with pytest.raises(CallError, match=r"1e\+300, which float32 cannot represent"):
        read_libsvm(tmp_path / "x.el", 1, dtype=np.float32)


def test_what_a_killed_process_left_of_the_file_is_swept_up(tmp_path):
    dead = tmp_path / ".two.999999999-0.part.el"
    dead.write_text("1 1:0.")
    write_libsvm(tmp_path / "two.el", [([1], np.float32([[0.1]]))])
    assert [path.name for path in tmp_path.iterdir()] == ["two.el"]
