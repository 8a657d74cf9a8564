"""Class tables that the user gives."""

import json

import numpy as np
import pytest

from hypercover.errors import LabelError
from hypercover.scene.classtable import read_legend
from hypercover.scene.legend import Legend
from hypercover.scene.reading import open_labels

WATER = Legend.of({1: "Water", 2: "Süd, Wald", 5: "Road"}, {2: "#00ff00"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'code,name,color\n1,Water,\n2,"Süd, Wald",#00ff00\n5,Road,\n'),
        ("a.csv", "\ufeffCode;Name;Colour\n1;Water;\n2;Süd, Wald;#00ff00\n5;Road;\n"),
        ("a.tsv", "name\tcode\tcolor\nWater\t1\t\nSüd, Wald\t2\t#00ff00\nRoad\t5\t\n"),
        (
            "a.yaml",
            "- {code: 1, name: Water}\n- {code: 2, name: 'Süd, Wald', color: '#00ff00'}\n"
            "- {code: 5, name: Road}\n",
        ),
        ("a.json", json.dumps(WATER.to_json())),
        ("a.json", json.dumps({"classes": WATER.to_json()})),
    ],
)
def test_all_ways_to_write_it(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_legend(tmp_path / name) == WATER


def test_a_mapping_from_code_to_name(tmp_path):
    (tmp_path / "a.yml").write_text("1: Water\n2: Wald\n")
    assert read_legend(tmp_path / "a.yml").names == ("Water", "Wald")


def test_it_comes_before_what_the_file_says(tmp_path, codes, utm):
    np.save(tmp_path / "gt.npy", codes)
    (tmp_path / "a.csv").write_text("code,name\n1,Eins\n2,Zwei\n")
    _, legend = open_labels(tmp_path / "gt.npy", utm, legend=tmp_path / "a.csv")
    assert legend.names == ("Eins", "Zwei", "Class 5")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", ""),
        ("a.csv", "code,name\n"),
        ("a.csv", "number,title\n1,x\n"),
        ("a.csv", "code,name\nx,y\n"),
        ("a.csv", "code,name\n1,\n"),
        ("a.csv", "code,name\n0,zero\n"),
        ("a.csv", "code,name\n1,a\n1,b\n"),
        ("a.csv", "code,name,color\n1,a,red\n"),
        ("a.json", "{"),
        ("a.json", "3"),
        ("a.json", "[1, 2]"),
        ("a.yaml", "a: [b"),
        ("a.yaml", "!!python/object/apply:os.system [echo]"),
        ("a.yaml", "[" * 5000),
        ("a.csv", "\0\0\0"),
    ],
)
def test_what_is_no_table(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError):
        read_legend(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        read_legend(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 100_000),
        ("deep.yaml", "[" * 20_000),
        ("nested.json", json.dumps([{"code": 1, "name": ["Water"]}])),
        ("nested.yaml", "- {code: 1, name: &a [x, x]}\n- {code: 2, name: [*a, *a]}\n"),
    ],
)
def test_tables_that_unfold_without_end_are_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError, match="is no table of classes"):
        read_legend(tmp_path / name)
