"""Every file of a run folder, damaged: made again by the same command, or refused; never used."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hypercover.files import read_checksummed

pytestmark = pytest.mark.usefixtures("sketched")

MODELS = {
    "near": {"kind": "sklearn", "estimator": "sklearn.neighbors.NearestCentroid"},
    "pcs": {"kind": "svm", "features": "two"},
}
VOLATILE = {"created", "train_seconds", "predict_seconds", "checksum"}


def flipped(place: float):
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[min(int(place * len(content)), len(content) - 1)] ^= 0x04
        path.write_bytes(bytes(content))

    return damage


DAMAGES = {
    **{
        f"flipped at {place:.0%}": flipped(place)
        for place in (0.05, 0.3, 0.5, 0.7, 0.95, 1)
    },
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}

FEW = ("flipped at 50%", "empty", "cut")
"""Those that every run of the tests tries; the others are for the slow test."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def made(home, filled):
    """A scene and its experiment, with features, two models and maps."""
    fields = filled(home)
    document = yaml.safe_load(fields.experiment.read_text())
    document |= {"models": MODELS, "features": {"two": "pca:2"}}
    fields.experiment.write_text(yaml.safe_dump(document))
    return fields


@pytest.fixture
def whole(made, call, home):
    """A whole run and what each command makes of it; made once."""
    folder = home / "whole"
    if not folder.exists():
        assert call("run", made.experiment, "-o", folder).code == 0
    return folder


def files_of(run: Path) -> list[str]:
    """Every file that a run keeps; the lock holds a word for people alone."""
    found = (path for path in sorted(run.rglob("*")) if path.is_file())
    names = [str(path.relative_to(run)) for path in found if path.stat().st_size]
    return [name for name in names if name != "tasks/lock" and not name.endswith(".log")]


def damaged_copy(whole: Path, target: Path, names, damage) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(whole, target)
    for name in names:
        stat = (target / name).stat()
        damage(target / name)
        # A damage of the disk leaves the times as they are.
        os.utime(target / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return target


def lasting(name: str, content: bytes):
    """Return what of a file must be the same in every run."""

    def bare(value):
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if k not in VOLATILE}
        return [bare(one) for one in value] if isinstance(value, list) else value

    if name in ("tasks/plan.json", "tasks/inputs.json"):
        return json.loads(content)
    if name.startswith("tasks/"):
        record = read_checksummed(content)
        return record["fingerprint"], bare(record["result"])
    if name == "metrics.json":
        return bare(read_checksummed(content))
    if name in ("report.html", "stages.csv", "log.jsonl"):
        return len(content) > 0
    return content


def commands(made, run: Path, out: Path) -> dict[str, tuple]:
    return {
        "report": ("report", run),
        "compare": ("compare", run, "-o", out / "c"),
        "predict": ("predict", run / "models" / "pcs", made.image, "-o", out / "map.tif"),
        "export": ("export", run / "maps" / "near.tif", "-o", out / "polygons.geojson"),
        "area": ("area", run / "maps" / "near.tif", "--reference", made.labels),
        "status": ("status", run, "--tasks"),
    }


def outcome(call, made, run: Path, out: Path, verb: str):
    """Return what a command makes of a run: files and words, or nothing where it refuses."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    said = call(*commands(made, run, out)[verb])
    assert said.code in (0, 2), (verb, said.err)
    assert "Traceback" not in said.err
    if said.code == 2:
        assert said.sentence
        return None
    files = {
        path.name: path.read_bytes().replace(str(run).encode(), b"RUN")
        for path in (*out.rglob("*"), run / "report.html")
        if path.is_file() and (path.name != "report.html" or verb == "report")
    }
    words = said.out.replace(str(run), "RUN").replace(str(out), "OUT")
    return words, files


def check_again(call, made, whole, run, names) -> Counter:
    """Run once more: what was damaged is made again, and all is as it was."""
    hurt = {name: (run / name).read_bytes() for name in names}
    said = call("run", made.experiment, "-o", run)
    assert said.code == 0, said.err
    counted = Counter()
    for name in files_of(whole):
        before, after = (folder / name for folder in (whole, run))
        same = lasting(name, before.read_bytes()) == lasting(name, after.read_bytes())
        assert same, f"{name} is not what it was, after damage to {names}"
        if name in hurt:
            counted["made again"] += after.read_bytes() != hurt[name]
    return counted


def check_uses(call, made, run, name, out, sound) -> Counter:
    """Use a run with a damaged file: refused, or as good as the whole one."""
    counted = Counter()
    for verb, expected in sound.items():
        found = outcome(call, made, run, out, verb)
        if found is None:
            counted["refused"] += 1
            continue
        if verb == "status":
            # It shows results alone, and a damaged one is not done.
            result = name.startswith("tasks/") and Path(name).stem not in ("plan", "inputs")
            silent = result and found[0] == expected[0]
        else:
            silent = found != expected
        counted["silent"] += silent
        assert not silent, f"{verb} used {name}"
        counted["not used"] += 1
    return counted


ALL = ("report", "compare", "predict", "export", "area", "status")


@pytest.mark.parametrize("damage", FEW)
def test_what_is_damaged_is_made_again(call, made, whole, tmp_path, damage):
    """All files of a run at once, but those that say what to do."""
    asked = ("experiment.yaml", "tasks/inputs.json", "tasks/plan.json")
    names = [name for name in files_of(whole) if name not in asked]
    run = damaged_copy(whole, tmp_path / "run", names, DAMAGES[damage])
    assert check_again(call, made, whole, run, names)["made again"] == len(names)


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("metrics.json", "report"),
        ("metrics.json", "compare"),
        ("view/scene.npz", "report"),
        ("figures/classes-near.png", "report"),
        ("stages.csv", "report"),
        ("predictions/main-0-near.npz", "compare"),
        ("split.tif", "compare"),
        ("models/pcs/model.json", "predict"),
        ("models/pcs/weights.safetensors", "predict"),
        ("maps/near.tif", "export"),
        ("maps/near.tif.aux.xml", "export"),
        ("maps/near.tif", "area"),
    ],
)
@pytest.mark.parametrize("damage", FEW)
def test_what_is_damaged_is_refused_where_it_is_used(
    call, made, whole, tmp_path, name, verb, damage
):
    run = damaged_copy(whole, tmp_path / "run", [name], DAMAGES[damage])
    said = call(*commands(made, run, tmp_path / "out")[verb]).sentence
    assert Path(name).name in said or Path(name).parent.name in said


@pytest.mark.parametrize("damage", FEW)
def test_a_damaged_record_is_not_believed(call, made, whole, tmp_path, damage):
    names = ["tasks/train-main-0-near.json", "tasks/split-main-0.json"]
    run = damaged_copy(whole, tmp_path / "run", names, DAMAGES[damage])
    said = call("status", run)
    assert ", 2 open." in said.out


def test_what_people_change_by_right_stays(call, made, whole, tmp_path):
    """A style drawn anew in QGIS, and statistics that a viewer writes beside a map."""
    run = damaged_copy(whole, tmp_path / "run", [], None)
    for name in ("maps/near.qml", "maps/near.tif.aux.xml"):
        path = run / name
        path.write_bytes(path.read_bytes().rstrip().replace(b"</", b"<!-- mine --></", 1))
    before = {name: (run / name).read_bytes() for name in files_of(run)}
    assert call("run", made.experiment, "-o", run).code == 0
    assert {name: (run / name).read_bytes() for name in files_of(run)} == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", FEW)
def test_every_file_of_a_run_damaged(call, made, whole, tmp_path, capfd, damage):
    """One after another: what uses it refuses or is not misled, and a run makes it anew."""
    counted, out, names = Counter(), tmp_path / "out", files_of(whole)
    sound = {verb: outcome(call, made, whole, out, verb) for verb in ALL}
    for name in names:
        run = damaged_copy(whole, tmp_path / "run", [name], DAMAGES[damage])
        counted += check_uses(call, made, run, name, out, sound)
        run = damaged_copy(whole, tmp_path / "run", [name], DAMAGES[damage])
        counted += check_again(call, made, whole, run, [name])
    with capfd.disabled():
        print(f"\n{damage}: {len(names)} files, {dict(counted)}")
    assert counted["made again"] == len(names)
    assert counted["silent"] == 0
