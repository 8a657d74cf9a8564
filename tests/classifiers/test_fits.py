"""Whether a model fits a scene: which bands are chosen, which refusals are named."""

import numpy as np
import pytest

from hypercover.classifiers.fits import check_scene_fits
from hypercover.errors import ModelError

NUMBERS = [n for n in range(1, 221) if not (104 <= n <= 108 or 150 <= n <= 163 or n == 220)]
CENTRES = {n: 400 + 9.5 * (n - 1) for n in range(1, 221)}


def card(numbers=NUMBERS, known=True, fwhm=None):
    centres = [CENTRES[n] for n in numbers] if known else None
    widths = None if fwhm is None else [fwhm] * len(numbers)
    return {"bands": list(numbers), "wavelengths": centres, "fwhm": widths}


def centres(numbers, shift=0.0):
    return np.array([CENTRES[n] + shift for n in numbers])


def test_the_same_bands_fit_as_they_stand():
    assert check_scene_fits(card(), NUMBERS, centres(NUMBERS)) is None
    assert check_scene_fits(card(), np.array(NUMBERS, dtype=np.int32), None) is None
    assert check_scene_fits(card(known=False), NUMBERS, centres(NUMBERS)) is None


def test_the_models_bands_are_chosen_from_more():
    everything = list(range(1, 221))
    chosen = check_scene_fits(card(), everything, centres(everything))
    assert [everything[at] for at in chosen] == NUMBERS


def test_bands_in_another_order_are_put_in_the_models():
    turned = NUMBERS[::-1]
    chosen = check_scene_fits(card(), turned, centres(turned))
    assert [turned[at] for at in chosen] == NUMBERS


def test_missing_bands_are_named_in_runs():
    everything = list(range(1, 221))
    with pytest.raises(
        ModelError,
        match=r"trained on 220 bands and the scene has 200; it lacks bands "
        r"104-108, 150-163, 220 \(1378–2480 nm\)",
    ):
        check_scene_fits(card(everything), NUMBERS, centres(NUMBERS))
    with pytest.raises(ModelError, match="it lacks band 219; give"):
        check_scene_fits(card(known=False), NUMBERS[:-1], None)


def test_other_wavelengths_are_named():
    there = centres(NUMBERS)
    there[4] += 3
    with pytest.raises(
        ModelError, match=r"band 5 at 438\.0 nm but 441\.0 nm in the scene; give an image"
    ):
        check_scene_fits(card(), NUMBERS, there)
    with pytest.raises(ModelError, match="and 192 bands more"):
        check_scene_fits(card(), NUMBERS, centres(NUMBERS, shift=9.5))


@pytest.mark.parametrize(
    ("fwhm", "shift", "fits"),
    [
        (None, 0.9, True),
        (None, 1.1, False),
        (10.0, 4.9, True),
        (10.0, 5.1, False),
        (0.5, 0.9, True),
    ],
)
def test_the_tolerance_is_1_nm_or_half_the_width(fwhm, shift, fits):
    def ask():
        return check_scene_fits(card(fwhm=fwhm), NUMBERS, centres(NUMBERS, shift))

    if fits:
        assert ask() is None
    else:
        with pytest.raises(ModelError, match="other wavelengths"):
            ask()


def test_a_wavelength_that_is_not_known_is_no_reason_to_refuse():
    there = centres(NUMBERS)
    there[7] = np.nan
    assert check_scene_fits(card(), NUMBERS, there) is None


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"bands": []},
        {"bands": [1, 1]},
        {"bands": [1.5]},
        {"bands": "1"},
        {"bands": [1], "band_names": ["a", "b"]},
        {"bands": [1], "band_names": [3]},
        {"bands": [1], "wavelengths": [1, 2]},
        {"bands": [1], "wavelengths": ["x"]},
        {"bands": [1], "wavelengths": [400.0], "fwhm": {}},
    ],
)
def test_a_damaged_card_is_refused(damaged):
    with pytest.raises(ModelError, match="train it again"):
        check_scene_fits(damaged, [1], [400.0])


FEATURES = ["kpca1", "kpca1 area<50", "kpca2"]


def named(names, waves=None):
    return {"bands": [1, 2, 3], "wavelengths": waves, "band_names": names}


@pytest.mark.parametrize(
    "names", [FEATURES, ["pca1", "pca2", "mnf3"], ["band 1 std<2"] * 3]
)
def test_features_are_no_bands_and_bands_no_features(names):
    with pytest.raises(ModelError, match=rf"a stack of features \({names[0]}, .*the image"):
        check_scene_fits(named(None, [400.0, 410.0, 420.0]), [1, 2, 3], None, names)
    with pytest.raises(ModelError, match="a stack of features"):
        check_scene_fits(named(["red", "green", "blue"]), [1, 2, 3], None, names)
    with pytest.raises(
        ModelError, match=rf"on features \({names[0]}, .* not named so; give"
    ):
        check_scene_fits(named(names), [1, 2, 3], None)
    with pytest.raises(ModelError, match="has bands with wavelengths; give the stack"):
        check_scene_fits(named(names), [1, 2, 3], [400.0, 410.0, 420.0])
    assert check_scene_fits(named(names), [1, 2, 3], None, names) is None


def test_other_features_are_named():
    with pytest.raises(
        ModelError,
        match="other names: 'kpca1 area<50' but 'kpca1 area<60' in the scene; give",
    ):
        check_scene_fits(
            named(FEATURES), [1, 2, 3], None, ["kpca1", "kpca1 area<60", "kpca2"]
        )
    more = ["pca1", *FEATURES]
    assert check_scene_fits(named(FEATURES), [7, 1, 2, 3], None, more) == [1, 2, 3]


def test_names_of_bands_decide_only_where_nothing_else_does():
    colours, waves = ["red", "green", "blue"], [650.0, 560.0, 480.0]
    with pytest.raises(ModelError, match="'red' but 'blue' in the scene and"):
        check_scene_fits(
            {"bands": list(range(1, 10)), "band_names": ["red"] * 9}, range(1, 10), None,
            ["blue"] * 9,
        )  # fmt: skip
    assert (
        check_scene_fits(named(colours), [1, 2, 3], None, ["Red", "green ", "blue"]) is None
    )
    assert (
        check_scene_fits(named(colours, waves), [1, 2, 3], waves, ["a", "b", "c"]) is None
    )
    assert check_scene_fits(named(colours), [1, 2, 3], None) is None
    assert check_scene_fits(named(None), [1, 2, 3], None, colours) is None


def test_a_card_that_never_heard_of_names_keeps_working():
    old = {"bands": [1, 2, 3], "wavelengths": None}
    assert check_scene_fits(old, [1, 2, 3], None, FEATURES) is None
    with pytest.raises(ModelError, match="a stack of features"):
        check_scene_fits(card([1, 2, 3]), [1, 2, 3], None, FEATURES)
