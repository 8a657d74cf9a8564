"""The report shows what a run left, and nothing it did not."""

import json
import os
import re
import shutil
from html import unescape
from html.parser import HTMLParser

import pytest

from hypercover.errors import CallError, OutputError
from hypercover.evaluation.run_metrics import LeakageMetrics
from hypercover.report.descriptions import describe_leakage
from hypercover.report.report import write_report

EMPTY = {"area", "base", "br", "img", "input", "link", "meta", "rect"}
EMPTY |= {"path", "line"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], [], []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def read(folder):
    return write_report(folder).read_text(encoding="utf-8")


def rewritten(folder, metrics, **changes):
    (folder / "metrics.json").write_text(json.dumps(metrics | changes))
    return Reader(read(folder)).words


def test_page_says_the_figures_and_their_audit(run_folder):
    words = Reader(read(run_folder)).words
    assert (
        "71.0 % of 220 test pixels of the split blocks are correct on the map by cnn"
        in words
    )
    assert "90 % of the test pixels had a training pixel inside their 5 × 5 window" in words
    assert "would have reached 99.0 % : 28.0 points more" in words
    assert "simulated" in words
    assert "blocks of 15 px, 25 % of the labels train, guard 4 px" in words
    assert "1 class is not scored in full under blocks." in words
    assert "no test pixel" in words
    assert "torch not installed" in words


def test_a_main_split_that_flatters_is_told_beside_the_one_that_does_not(
    run_folder, metrics
):
    """The figure on top must not stand alone where the run knows a harder one."""
    blocks = {"split": metrics["split"], "models": metrics["models"]}
    turned = metrics["beside"]["random"] | {"beside": {"blocks": blocks}}
    chosen = rewritten(run_folder, metrics, **turned)
    assert "Under the blocks split, the same model reaches only 71.0 % : 28.0" in chosen
    assert "would have reached" not in chosen
    none = rewritten(run_folder, metrics, **turned, best=None)
    assert "Under another split: svm 63.0 % (blocks) and cnn 71.0 % (blocks)." in none


def test_only_random_pixels_are_the_usual_way(run_folder, metrics):
    beside = metrics["beside"]["random"]
    beside = {"easy": beside | {"split": beside["split"] | {"kind": "fields"}}}
    words = rewritten(run_folder, metrics, beside=beside)
    assert "Measured with the easy split, the same model would have reached" in words


def test_page_is_one_file_that_asks_for_nothing(run_folder):
    page = read(run_folder)
    reader = Reader(page)
    harmless = ("http-equiv", "http://www.w3.org/2000/svg")
    for word in harmless:
        page = page.replace(word, "")
    assert "http" not in page
    loaded = [value for name, value in reader.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:", "#")) for value in loaded)
    assert "default-src 'none'" in unescape(page)


def test_hostile_names_never_become_tags_or_attributes(run_folder):
    reader = Reader(read(run_folder))
    assert reader.tags.count("script") == 2
    assert ("type", "application/json") in reader.attributes
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "<script>window.hacked=1</script>" in reader.words


def test_every_picture_has_words_and_every_table_headings(run_folder):
    page = read(run_folder)
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", page))
    for table in re.findall(r"<table.*?</table>", page, flags=re.DOTALL):
        assert "scope=" in table


def test_what_the_page_draws_itself_stands_in_it_as_no_picture(run_folder):
    uris = re.findall(r'src="(data:image/png[^"]+)"', read(run_folder))
    assert len(uris) == 1
    shutil.rmtree(run_folder / "view")
    uris = re.findall(r'src="(data:image/png[^"]+)"', read(run_folder))
    assert len(uris) == 11


def test_repeats_show_their_spread(run_folder, metrics):
    cnn = metrics["models"]["cnn"]
    cnn["repeats"] = [
        {"seed": seed, "overall_accuracy": 0.7 + seed / 100} for seed in range(3)
    ]
    cnn["spread"] = {"overall_accuracy": 0.01, "kappa": 0.02, "average_accuracy": None}
    words = rewritten(run_folder, metrics)
    assert "71.0 ± 1.0" in words
    assert "(mean of 3 seeds)" in words
    assert "± is one standard deviation, over 3 seeds under blocks." in words
    assert "Means over 3 seeds" in words
    assert "72.00" in words


def test_intervals_stand_beside_their_figures_and_are_explained(run_folder, metrics):
    interval = {
        "level": 0.95,
        "unit": "blocks of 15 px",
        "units": 67,
        "resamples": 2000,
        "overall_accuracy": [0.681, 0.789],
        "average_accuracy": None,
        "kappa": [0.6, 0.7],
        "per_class": [{"code": 1, "producers_accuracy": [0.1, 0.2], "f1": None}],
    }
    cnn = metrics["models"]["cnn"] | {"interval": interval}
    models = metrics["models"] | {"cnn": cnn}
    words = rewritten(run_folder, metrics, models=models)
    assert "71.0 [68.1, 78.9]" in words
    assert "[0.600, 0.700]" in words
    assert "from a bootstrap of 2,000 resamples (blocks: 67 blocks of 15 px" in words
    assert "90.0 [10, 20]" in words
    assert "bootstrap" not in rewritten(run_folder, metrics)


def test_too_few_pieces_of_land_to_judge_by_are_told_on_top_and_beside(run_folder, metrics):
    cnn = metrics["models"]["cnn"] | {
        "interval": {
            "unit": "fields",
            "units": 4,
            "too_few": True,
            "overall_accuracy": None,
        }
    }
    models = metrics["models"] | {"cnn": cnn}
    words = rewritten(run_folder, metrics, models=models)
    assert "71.0 % too few to judge: the test pixels are in 4 fields only" in words
    assert "71.0 too few to judge" in words
    assert "No interval under blocks, too few to judge" in words
    assert "bootstrap" not in words


def test_labels_that_could_not_be_used_are_told(run_folder, metrics):
    scene = metrics["scene"] | {"losses": ["1 shape of 3 outside the image: 1 of Moor."]}
    words = rewritten(run_folder, metrics, scene=scene)
    assert (
        "Labels that could not be used 1 shape of 3 outside the image: 1 of Moor." in words
    )
    assert "Labels that could not be used" not in rewritten(run_folder, metrics)


def test_calibration_says_how_far_a_confidence_is_off(run_folder, metrics):
    bins = [
        {"low": 0.8, "high": 1.0, "count": 60, "confidence": 0.93, "accuracy": 0.71},
        {"low": 0.0, "high": 0.8, "count": 0, "confidence": None, "accuracy": None},
    ]
    calibration = {
        "temperature": 1.7,
        "fitted_on": 120,
        "error": 0.052,
        "error_before": 0.221,
        "bins": bins,
        "abstention": [{"kept": 0.5, "accuracy": 0.9}],
    }
    cnn = metrics["models"]["cnn"] | {"calibration": calibration}
    models = metrics["models"] | {"cnn": cnn}
    words = rewritten(run_folder, metrics, models=models)
    assert "off by 5.2 points on average" in words
    assert "a temperature of 1.70 was fitted on 120 validation pixels" in words
    assert "before that it was off by 22.1 points" in words
    assert "80 to 100 % 60 93.0 71.0" in words
    assert "0 to 80 %" not in words
    cnn = cnn | {"calibration": calibration | {"by": "folds"}}
    words = rewritten(run_folder, metrics, models=models | {"cnn": cnn})
    assert "was fitted on 120 training pixels held out in turn" in words


def test_gap_and_curve_stand_in_tables_that_sort(run_folder, metrics):
    row = {"model": "svm", "split": "random", "overall_accuracy": 0.9, "fall": 0.0}
    gap = {
        "rows": [
            row,
            row
            | {"split": "<script>window.hacked=1</script>", "fall": 0.234, "spread": 0.012},
        ]
    }
    point = {"model": "svm", "train": 0.3, "overall_accuracy": 0.8, "interval": [0.7, 0.9]}
    words = rewritten(run_folder, metrics, gap=gap, curve={"rows": [point]})
    assert "The leak gap" in words
    assert "90.0 ± 1.2 23.4" in words
    assert "svm 0.3 80.0 [70.0, 90.0]" in words
    assert "<script>window.hacked=1</script>" in words


def test_folds_are_said_to_be_folds(run_folder, metrics):
    folds = [{"seed": 0, "fold": fold, "overall_accuracy": 0.7} for fold in range(1, 6)]
    cnn = metrics["models"]["cnn"] | {"folds": 5, "repeats": folds}
    words = rewritten(run_folder, metrics, models={"cnn": cnn})
    assert "(5 folds together)" in words
    assert "The pixels of all folds are counted together." in words
    assert "(sum of all draws)" in words
    assert "seeds" not in words


def test_a_bare_run_still_makes_a_page(tmp_path, metrics):
    bare = {"name": "bare", "models": {"svm": metrics["models"]["svm"]}}
    words = rewritten(tmp_path, bare)
    assert "63.0 %" in words
    assert "No map of the whole scene was made" in words
    assert "another split" not in words
    assert "simulated" not in words


def test_without_validation_no_model_is_called_best(run_folder, metrics):
    words = rewritten(run_folder, metrics, best=None)
    assert "no model was chosen" in words
    assert "71.0 % of the test pixels of the split blocks are correct" in words
    assert " % ," not in words
    assert "best by validation" not in words


def test_a_run_without_models_or_scores_says_so(run_folder, metrics):
    assert "This run has no model." in rewritten(run_folder, metrics, models={}, beside={})
    nothing = {"svm": {"overall_accuracy": None, "kappa": None}}
    assert "–" in rewritten(run_folder, metrics, models=nothing, best=None)


def test_training_curves_come_from_the_log_where_no_figure_is(run_folder):
    page = read(run_folder)
    assert page.count('id="plate-training-') == 1
    shutil.copy(
        run_folder / "figures" / "spectra.png", run_folder / "figures" / "training-svm.png"
    )
    assert read(run_folder).count('id="plate-training-') == 2
    (run_folder / "log.jsonl").write_text(
        '{"model": "cnn", "epoch": 1, "loss": "x"}\n[]\n5\n'
    )
    assert read(run_folder).count('id="plate-training-') == 1


def test_the_training_of_a_network_is_told(run_folder, metrics):
    facts = {"device": "<gpu>", "precision": "mixed", "processes": 4, "epochs": 1}
    told = {"training": facts | {"samples": 6950}, "train_seconds": 75.0}
    cnn = metrics["models"]["cnn"] | told
    page = rewritten(run_folder, metrics, models=metrics["models"] | {"cnn": cnn})
    words = "on <gpu> in mixed, 4 processes, 1 epoch, 6,950 samples seen"
    assert f"trained in 1 min 15 s {words}" in page
    assert page.count("samples seen") == 1


def test_numbers_beyond_all_measure_stop_no_report(run_folder, metrics):
    huge = "9" * 400
    (run_folder / "log.jsonl").write_text(
        f'{{"model": "svm", "epoch": 1, "loss": {huge}}}\n'
        f'{{"model": "svm", "epoch": {huge}, "loss": 1}}\n'
        '{"model": "svm", "epoch": 2, "loss": NaN}\n{"model": "svm", "epoch": 1e999}\n'
    )
    split = metrics["split"] | {"settings": {"train": int(huge), "size": int(huge)}}
    assert "random" in rewritten(run_folder, metrics, split=split)
    assert 'id="plate-training-svm"' not in read(run_folder)


def test_a_configuration_that_is_none_is_left_out(run_folder):
    before = len(read(run_folder))
    os.truncate(run_folder / "experiment.yaml", 2**24)
    assert len(read(run_folder)) < before


def test_damaged_or_foreign_pictures_are_left_out(old_folder, metrics):
    run_folder = old_folder
    figures = run_folder / "figures"
    whole = (figures / "map-svm.png").read_bytes()
    (figures / "map-svm.png").write_bytes(whole[: len(whole) // 2])
    (figures / "spectra.png").write_bytes(b"<html>")
    (run_folder / "map-secret.png").write_bytes(whole)
    models = metrics["models"] | {"/../../secret": metrics["models"]["svm"]}
    (run_folder / "metrics.json").write_text(json.dumps(metrics | {"models": models}))
    page = read(run_folder)
    assert 'id="plate-map-svm"' not in page
    assert 'id="plate-spectra"' not in page
    assert "secret.png" not in page
    assert 'id="plate-map-/' not in page


def test_folder_without_metrics_is_refused(tmp_path):
    with pytest.raises(CallError, match=r"No metrics\.json in"):
        write_report(tmp_path)
    with pytest.raises(CallError, match=r"No metrics\.json in"):
        write_report(tmp_path / "missing")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not JSON"),
        ('{"name": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the whole file"),
        ('{"models": {"svm": {"kappa": "high"}}}', r"models\.svm\.kappa"),
        ('{"models": {"svm": {"kappa": NaN}}}', r"models\.svm\.kappa"),
        ('{"legend": [{"code": 1, "color": "red;}"}]}', r"legend\.0\.color"),
        ('{"split": 5}', "split"),
        (f'{{"scene": {{"rows": {"9" * 400}}}}}', r"scene\.rows"),
        ("\xff\xfe", "not JSON"),
    ],
)
def test_metrics_of_another_kind_are_refused_with_the_place(tmp_path, text, named):
    (tmp_path / "metrics.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CallError, match=f"not a valid result file: .*{named}"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_page_that_cannot_be_written_is_an_output_error(run_folder):
    (run_folder / "report.html").mkdir()
    with pytest.raises(OutputError):
        write_report(run_folder)


@pytest.mark.parametrize(
    ("neighbours", "words"),
    [
        (
            0.0,
            "single pixels: no window is shared, and no test pixels touch a training pixel.",
        ),
        (0.54, "but 54 % of the test pixels touch a training pixel."),
        (None, "It looks at single pixels: no window is shared."),
    ],
)
def test_single_pixels_are_told_how_near_the_training_lies(neighbours, words):
    assert words in describe_leakage(
        LeakageMetrics(window=1, centre_in_window=0.0), neighbours
    )


def test_figures_of_several_seeds_are_not_called_those_of_a_map(run_folder):
    metrics = json.loads((run_folder / "metrics.json").read_text())
    repeats = [{"seed": seed, "overall_accuracy": 0.71} for seed in range(3)]
    models = {
        name: model | {"repeats": repeats} for name, model in metrics["models"].items()
    }
    words = rewritten(run_folder, metrics, models=models)
    assert "71.0 % of 220 test pixels of the split blocks are correct with cnn" in words
    assert "(mean of 3 seeds)" in words
    assert "± is one standard deviation, over 3 seeds under blocks." in words
    assert "correct on the map" not in words


def test_figures_that_no_run_leaves_make_no_page(run_folder):
    (run_folder / "metrics.json").write_text("{}")
    with pytest.raises(CallError, match="is not a valid result file"):
        write_report(run_folder)
    assert not (run_folder / "report.html").exists()


def test_every_split_says_what_its_intervals_were_drawn_from(run_folder):
    metrics = json.loads((run_folder / "metrics.json").read_text())
    about = {"level": 0.95, "resamples": 2000, "overall_accuracy": [0.6, 0.8]}
    units = [
        {"unit": "blocks of 12 px", "units": 25},
        {"unit": "blocks of 15 px", "units": 16},
    ]
    parts = [metrics, next(iter(metrics["beside"].values()))]
    for part, drawn in zip(parts, units, strict=True):
        for model in part["models"].values():
            model["interval"] = about | drawn
    words = rewritten(run_folder, metrics)
    (name,) = metrics["beside"]
    assert f"blocks: 25 blocks of 12 px; {name}: 16 blocks of 15 px" in words
