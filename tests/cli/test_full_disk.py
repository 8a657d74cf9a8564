"""A disk that fills up or may not be written: said in one sentence, nothing half-written."""

import pytest


def test_a_disk_that_may_not_be_written(fields, call, small_disk):
    place = small_disk("size=1m,ro")
    answer = call("run", fields.experiment, "-o", place / "run")
    assert answer.sentence.endswith("the disk is read-only; choose another folder.")


FULL = {
    "run": ["run", "{experiment}", "-o", "{disk}/run"],
    "classify": [
        "classify",
        "{image}",
        "-l",
        "{labels}",
        "--model",
        "svm",
        "-o",
        "{disk}/r",
    ],
    "simulate": [
        "simulate",
        "{disk}/s.tif",
        "--rows",
        "64",
        "--cols",
        "64",
        "--bands",
        "30",
    ],
    "simulate ENVI": ["simulate", "{disk}/s.hdr", "--rows", "40", "--cols", "40"],
    "predict": ["predict", "{model}", "{image}", "-o", "{disk}/m.tif"],
    "info": ["info", "{image}", "-l", "{labels}", "-o", "{disk}"],
}


@pytest.mark.parametrize("room", [0, 4, 24, 60])
@pytest.mark.parametrize("command", FULL)
def test_a_full_disk(fields, call, small_disk, trained, command, room):
    """With a few KiB left, so that some writes begin and cannot end."""
    disk = small_disk("size=400k")
    filler = disk / "filler"
    filler.write_bytes(bytes(400 * 1024 - room * 1024))
    known = vars(fields) | {"disk": disk, "model": trained}
    answer = call(*(word.format(**known) for word in FULL[command]))
    if room and answer.code == 0:
        return
    assert answer.code == 2, answer.err
    last = answer.err.splitlines()[-1]
    assert "Traceback" not in answer.err
    assert last.startswith("hypercover: ")
    assert "disk is full" in last, last
    assert not [path for path in disk.rglob("*") if ".part" in path.name]
    assert not (disk / "m.tif").exists()
    assert not list(disk.rglob("metrics.json"))


def test_no_room_then_room_again(fields, call, small_disk):
    """What was done before the disk filled up need not be done again."""
    disk = small_disk("size=4m")
    filler = disk / "filler"
    filler.write_bytes(bytes(3900 * 1024))
    answer = call("run", fields.experiment, "-o", disk / "run")
    assert answer.code == 2
    assert "disk is full" in answer.err.splitlines()[-1]
    filler.unlink()
    again = call("run", fields.experiment, "-o", disk / "run")
    if again.code:
        pytest.fail(again.err)
    assert list((disk / "run" / "maps").iterdir())
