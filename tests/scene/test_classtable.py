"""Class tables that the user gives."""

import json

import numpy as np
import pytest

from hypercover.errors import LabelError
from hypercover.scene.classcolors import class_colors
from hypercover.scene.classtable import read_legend
from hypercover.scene.legend import Legend
from hypercover.scene.reading import open_labels

NAMES = {1: "Water", 2: "Süd, Wald", 5: "Road"}
WATER = Legend.of(NAMES, class_colors(NAMES, {2: "#00ff00"}))


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
        ("a.csv", "code,name\n-1,minus\n"),
        ("a.csv", "code,name\n1.5,half\n"),
        ("a.csv", "code,name,r,g,b\n1,a,300,0,0\n"),
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


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_table_as_spreadsheets_save_it(tmp_path, encoding, delimiter, newline):
    rows = [
        "Code;Name;",
        ";;",
        "1.0;Straße;",
        "2,0;Gewässer;" if delimiter != "," else "2.;Gewässer;",
        ";;",
    ]
    text = newline.join(rows).replace(";", delimiter) + newline
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_legend(tmp_path / "a.csv").names == ("Straße", "Gewässer")
    assert read_legend(tmp_path / "a.csv").codes == (1, 2)


@pytest.mark.parametrize(
    "heads",
    ["Value,Class", "CLASS_ID,Class Name", "id,label", "Klasse,Bezeichnung", "valeur,nom",
     "Código,Nombre", "codice,nome", "gridcode,LandCover", "Nr.;Name", "class,name"],
)  # fmt: skip
def test_heads_of_other_programs_and_languages(tmp_path, heads):
    delimiter = ";" if ";" in heads else ","
    (tmp_path / "a.csv").write_text(f"{heads}\n3{delimiter}Wald\n", encoding="utf-8")
    legend = read_legend(tmp_path / "a.csv")
    assert (legend.codes, legend.names) == ((3,), ("Wald",))


@pytest.mark.parametrize(
    ("heads", "cells"),
    [("code,name,color", '1,a,"60, 180, 75"'), ("code,name,color", "1,a,3CB44B"),
     ("value,class,red,green,blue", "1,a,60,180,75"), ("code,name,R,G,B,A", "1,a,60,180,75,255"),
     ("code,name,rgb", '1,a,"rgb(60,180,75)"')],
)  # fmt: skip
def test_colours_as_people_write_them(tmp_path, heads, cells):
    (tmp_path / "a.csv").write_text(f"{heads}\n{cells}\n")
    assert read_legend(tmp_path / "a.csv")[1].color == "#3cb44b"


def test_a_table_without_heads(tmp_path):
    (tmp_path / "a.csv").write_text("1;Wald;#112233\n2;Moor;\n")
    legend = read_legend(tmp_path / "a.csv")
    assert legend.names == ("Wald", "Moor")
    assert legend[1].color == "#112233"


def test_a_fault_names_its_line(tmp_path):
    (tmp_path / "a.csv").write_text("code,name\n1,a\n\nzwei,b\n")
    with pytest.raises(LabelError, match="line 4 has 'zwei' where a class code must stand"):
        read_legend(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("kode number,titel\n1,a\n")
    with pytest.raises(
        LabelError, match="no column is the code or the name among 'kode number'"
    ):
        read_legend(tmp_path / "a.csv")


def test_a_name_for_0_counts_where_0_is_a_class(tmp_path, utm):
    import rasterio

    values = np.arange(13 * 11, dtype=np.uint8).reshape(13, 11) % 3
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=13, width=11, count=1,
                       dtype="uint8", nodata=255) as file:  # fmt: skip
        file.write(values, 1)
    (tmp_path / "a.csv").write_text("code,name\n0,Fels\n1,Wald\n2,Moor\n")
    labels, legend = open_labels(tmp_path / "a.tif", utm, legend=tmp_path / "a.csv")
    assert legend.names == ("Wald", "Moor", "Fels")
    assert np.array_equal(labels, np.where(values == 0, 3, values))
    (tmp_path / "a.csv").write_text("code,name\n0,unlabelled\n1,Wald\n2,Moor\n")
    labels, legend = open_labels(tmp_path / "a.tif", utm, legend=tmp_path / "a.csv")
    assert legend.names == ("Wald", "Moor")
    assert np.array_equal(labels, values)
