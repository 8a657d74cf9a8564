"""Every pixel of a picture has the colour of its class, and no name breaks a figure."""

import io
import threading

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from hypercover.errors import LabelError, OutputError
from hypercover.figures.accuracy_figures import draw_confusion, draw_training
from hypercover.figures.canvas import save_figure, shorten, thinning_step
from hypercover.figures.map_figures import (
    draw_check,
    draw_confidence,
    draw_labels,
    draw_map,
    draw_quicklook,
    draw_split,
    quicklook,
)
from hypercover.figures.spectra import class_spectra, draw_spectra
from hypercover.gis.map_writing import CHECK_LEGEND, class_check
from hypercover.report.finished_run import embed_png, read_image
from hypercover.scene import scene as scene_module
from hypercover.scene.legend import Legend
from hypercover.scene.scene import Scene, pick_bands

PARTS = {1: "#0072b2", 2: "#cc79a7", 3: "#e69f00", 4: "#3b3f45"}


def land_colours(figure, shape, folder):
    """Colours (y, x, 3) that the saved picture shows at the centre of each pixel."""
    save_figure(figure, folder / "p.png")
    plate = read_image(folder, "p")
    image = matplotlib.image.imread(folder / "p.png")
    assert image.shape[:2] == (plate.height, plate.width)
    place = plate.place
    rows = (
        place.top + (np.arange(shape[0]) + 0.5) / shape[0] * place.height
    ) * plate.height
    cols = (place.left + (np.arange(shape[1]) + 0.5) / shape[1] * place.width) * plate.width
    picked = image[np.floor(rows).astype(int)][:, np.floor(cols).astype(int), :3]
    return np.rint(255 * picked).astype(int)


def rgb(color):
    return list(bytes.fromhex(color.removeprefix("#")))


def plain_scene(values, **fields):
    return Scene(xr.DataArray(np.asarray(values), dims=("band", "y", "x")), **fields)


def test_map_shows_every_class_in_its_colour(land, tmp_path):
    shown = land_colours(draw_map(land.labels, land.legend, "svm"), land.shape, tmp_path)
    for entry in land.legend:
        assert (shown[land.labels == entry.code] == entry.rgb).all()
    assert (shown[land.labels == 0] == rgb("#e9ebee")).all()


def test_labels_split_and_check_show_theirs(land, split, tmp_path):
    shown = land_colours(draw_labels(land), land.shape, tmp_path)
    assert (shown[land.labels == 1] == land.legend[1].rgb).all()
    shown = land_colours(draw_split(land, split), land.shape, tmp_path)
    for code, color in PARTS.items():
        assert (shown[split.parts == code] == rgb(color)).all()
    grey = shown[split.parts == 0]
    assert (grey == grey[:, :1]).all()
    predicted = np.roll(land.labels, 3, axis=1)
    check = class_check(land.labels, predicted, split.parts)
    shown = land_colours(draw_check(check, "svm"), land.shape, tmp_path)
    for entry in CHECK_LEGEND:
        assert (shown[check == entry.code] == entry.rgb).all()


def test_confidence_runs_from_dark_to_light_and_leaves_no_data_pale(tmp_path):
    sure = np.linspace(0, 1, 40)[None].repeat(30, axis=0)
    sure[:3] = np.nan
    shown = land_colours(draw_confidence(sure, "svm"), (30, 40), tmp_path)
    assert (shown[:3] == rgb("#e9ebee")).all()
    lightness = shown[5].sum(axis=1)
    assert (np.diff(lightness) >= -2).all()
    assert shown[5, 0].tolist() == [68, 1, 84]


def test_quicklook_is_the_first_image_of_its_figure(land, tmp_path):
    shown = land_colours(draw_quicklook(land), land.shape, tmp_path)
    np.testing.assert_array_equal(shown, quicklook(land))


def test_large_images_are_thinned_out_alike(tmp_path):
    codes = np.random.default_rng(0).integers(0, 3, (2500, 1300)).astype(np.uint8)
    legend = Legend.of({1: "a", 2: "b"})
    assert thinning_step(codes.shape) == 3
    thin = codes[::3, ::3]
    shown = land_colours(draw_map(codes, legend, "m"), thin.shape, tmp_path)
    assert (shown[thin == 2] == legend[2].rgb).all()
    scene = plain_scene(np.stack([codes, codes, 2 - codes]))
    assert quicklook(scene).shape == (*thin.shape, 3)
    np.testing.assert_array_equal(quicklook(scene)[..., 1] == 255, thin == 2)


def test_quicklook_stretches_between_the_percentiles_of_valid_pixels():
    values = np.zeros((3, 1, 104))
    values[:, 0, 3:] = np.arange(1000, 1101)
    values[0, 0, :3] = np.nan
    image = quicklook(plain_scene(values))
    assert (image[0, :3] == 233).all()
    expected = np.clip((np.arange(101) - 2) / 96, 0, 1) * 255
    np.testing.assert_allclose(image[0, 3:, 1], expected, atol=1)


def test_quicklook_of_flat_empty_and_single_band_scenes():
    assert (quicklook(plain_scene(np.full((3, 4, 5), 7))) == 0).all()
    assert (quicklook(plain_scene(np.zeros((3, 4, 5)))) == 0).all()
    assert (quicklook(plain_scene(np.full((3, 4, 5), np.nan))) == 233).all()
    one = quicklook(plain_scene(np.arange(20).reshape(1, 4, 5)))
    assert (one[..., 0] == one[..., 2]).all()


def test_bands_are_true_colour_only_where_the_sensor_sees_it():
    aviris = np.linspace(400, 2500, 220)
    bands = pick_bands(aviris, 220)
    assert bands.kind == "true colour"
    assert aviris[list(bands.positions)] == pytest.approx([650, 550, 460], abs=5)
    shortwave = np.linspace(1000, 2500, 50)
    bands = pick_bands(shortwave, 50)
    assert bands.kind == "false colour"
    waves = shortwave[list(bands.positions)]
    assert waves[0] > waves[1] > waves[2]
    assert pick_bands(None, 2).kind == "grey"


def test_class_spectra_equal_plain_numpy_strip_by_strip(land, monkeypatch):
    for name in ("_STRIP", "_MOST_STRIP"):
        monkeypatch.setattr(scene_module, name, 1000)
    assert len(list(land.strips())) > 5
    found = class_spectra(land)
    cube = land.read(slice(None), slice(None)).astype(float)
    for code in (1, 4, 9):
        spectra = cube[:, (land.labels == code) & land.valid]
        np.testing.assert_allclose(found[code][0], spectra.mean(axis=1))
        np.testing.assert_allclose(found[code][1], spectra.std(axis=1), atol=1e-4)


def test_spectra_break_where_bands_were_dropped(land):
    (lines,) = [axes.lines for axes in draw_spectra(land).axes]
    across = lines[0].get_xdata()
    assert np.flatnonzero(np.isnan(across)).tolist() == [4]
    assert np.isnan(lines[0].get_ydata()[4])
    assert len(across) == 9


def test_spectra_need_labels(land):
    bare = land.replace(labels=None)
    for what in (draw_spectra, draw_labels):
        with pytest.raises(LabelError, match="give a label file"):
            what(bare)
    assert len(draw_quicklook(bare).axes) == 1


def test_simulated_scenes_say_so_in_every_title(land, split):
    land = land.replace(simulated=True)
    figures = [
        draw_quicklook(land),
        draw_labels(land),
        draw_spectra(land),
        draw_split(land, split),
    ]
    for figure in figures:
        assert any("(simulated scene)" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize(
    "name", ["$\\frac{", "a_$^{_", "x" * 5000, "\x00\x1b\n", "北京 農地", ""]
)
def test_no_name_breaks_a_figure(name, land, tmp_path):
    legend = Legend.of({1: name, 4: name, 9: name})
    land = land.replace(legend=legend, name=name or "x")
    matrix = np.eye(3)
    for figure in (
        draw_quicklook(land),
        draw_labels(land),
        draw_spectra(land),
        draw_map(land.labels, legend, name),
        draw_confusion(matrix, legend, name),
        draw_training([{"split": name, "epoch": 1, "loss": 1, "accuracy": None}], name),
    ):
        save_figure(figure, tmp_path / "f.png")
        assert (tmp_path / "f.png").stat().st_size < 2**20


def test_many_classes_get_more_columns_and_stay_inside(tmp_path):
    codes = np.arange(1, 201).repeat(5).reshape(40, 25).astype(np.uint8)
    legend = Legend.of({code: f"class number {code}" for code in range(1, 201)})
    figure = draw_map(codes, legend, "many")
    save_figure(figure, tmp_path / "m.png")
    width, height = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height


def test_confusion_prints_counts_up_to_twenty_classes():
    legend = Legend.of({code: f"c{code}" for code in range(1, 22)})
    few = draw_confusion(np.eye(20) * 7, legend, codes=range(1, 21)).axes[0]
    assert [text.get_text() for text in few.texts] == ["7"] * 20
    many = draw_confusion(np.eye(21), legend).axes[0]
    assert not many.texts
    shares = few.images[0].get_array()
    np.testing.assert_array_equal(shares, np.eye(20))


def test_confusion_is_normalised_by_reference():
    legend = Legend.of({1: "a", 2: "b"})
    axes = draw_confusion([[3, 1], [0, 0]], legend).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylabel() == "reference"


def test_training_draws_one_line_a_run():
    rows = [
        {"model": "cnn", "split": split, "seed": seed, "epoch": epoch, "loss": epoch}
        for split in ("main", "random")
        for seed in (0, 1)
        for epoch in (3, 1, 2)
    ]
    loss, accuracy = draw_training(rows).axes
    assert len(loss.lines) == 4
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert not accuracy.lines
    assert draw_training([]).axes


def test_training_draws_validation_in_a_colour_of_its_own():
    row = {"model": "cnn", "seed": 0, "loss": 0.5, "accuracy": 0.7}
    shown = {"validation_loss": 0.6, "validation_accuracy": 0.65}
    # the random split beside sets no validation pixels aside
    rows = [{**row, **shown, "split": "main", "epoch": epoch} for epoch in (1, 2)]
    rows += [{**row, "split": "random", "epoch": epoch} for epoch in (1, 2)]
    for axes, value in zip(draw_training(rows).axes, (0.6, 0.65), strict=True):
        main, random, validation = axes.lines
        assert validation.get_ydata().tolist() == [value, value]
        assert main.get_color() == random.get_color() != validation.get_color()
        assert main.get_linestyle() == validation.get_linestyle() != random.get_linestyle()
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert names == ["training", "validation", "main split", "random split"]


def test_threads_draw_the_same_bytes(land, tmp_path):
    def shoot(index):
        figure = draw_map(land.labels, land.legend, "m")
        save_figure(figure, tmp_path / f"{index}.png")

    threads = [threading.Thread(target=shoot, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shoot(4)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_drawing_leaves_no_global_state(land, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    save_figure(draw_quicklook(land), tmp_path / "q.png")
    assert dict(matplotlib.rcParams) == before


def test_save_is_whole_or_nothing(land, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        save_figure(draw_labels(land), tmp_path / "file" / "q.png")
    assert (tmp_path / "file").read_text() == "in the way"


def test_plates_refuse_what_is_no_picture():
    content = io.BytesIO()
    draw_training([]).savefig(content, format="png")
    whole = content.getvalue()
    plate = embed_png("p", whole)
    assert (plate.width, plate.height, plate.place) == (1080, 400, None)
    assert embed_png("p", whole[:-20]) is None
    assert embed_png("p", b"") is None
    assert embed_png("p", whole[:8] + b"\xff" * 50 + whole[-12:]) is None


def test_long_names_are_cut():
    assert shorten("a" * 40) == "a" * 33 + "…"
    assert shorten(" a\nb ") == "a b"
