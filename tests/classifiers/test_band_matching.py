"""Whether a model fits a scene: which bands are chosen, which refusals are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.classifiers.band_matching import format_distinct, match_bands
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
    assert match_bands(card(), NUMBERS, centres(NUMBERS)) is None
    assert match_bands(card(), np.array(NUMBERS, dtype=np.int32), None) is None
    assert match_bands(card(known=False), NUMBERS, centres(NUMBERS)) is None


def test_the_models_bands_are_chosen_from_more():
    everything = list(range(1, 221))
    chosen = match_bands(card(), everything, centres(everything))
    assert [everything[at] for at in chosen] == NUMBERS


def test_bands_in_another_order_are_put_in_the_models():
    turned = NUMBERS[::-1]
    chosen = match_bands(card(), turned, centres(turned))
    assert [turned[at] for at in chosen] == NUMBERS


def test_missing_bands_are_named_in_runs():
    everything = list(range(1, 221))
    with pytest.raises(
        ModelError,
        match=r"trained on 220 bands and the scene has 200; it lacks bands "
        r"104-108, 150-163, 220 \(1378.5–2480.5 nm\), such as band 104 ",
    ):
        match_bands(card(everything), NUMBERS, centres(NUMBERS))
    with pytest.raises(ModelError, match="it lacks band 219; give"):
        match_bands(card(known=False), NUMBERS[:-1], None)


def test_other_wavelengths_are_named():
    there = centres(NUMBERS)
    there[4] += 3
    with pytest.raises(
        ModelError,
        match=r"lacks band 5 \(438(.0)? nm, nearest in the scene 441(.0)? nm\); give an",
    ):
        match_bands(card(), NUMBERS, there)
    with pytest.raises(
        ModelError, match=r"lacks bands 1-103, .* such as band 1 \(400\.0 nm"
    ):
        match_bands(card(), NUMBERS, centres(NUMBERS, shift=1.1))


def test_wavelengths_that_differ_a_little_are_written_with_the_digits_that_differ():
    own = {"bands": [1], "wavelengths": [842.004], "fwhm": None}
    with pytest.raises(ModelError, match=r"\(842\.0 nm, nearest in the scene 843\.1 nm\)"):
        match_bands(own, [1], [843.06])
    assert format_distinct(842.0, 842.0004) == ("842.0000", "842.0004")


def test_bands_are_found_by_wavelength_whatever_their_numbers():
    """A subset, written by another program, counts its bands from 1 again."""
    own = {"bands": [1, 2, 4, 5, 6], "wavelengths": [490.0, 560.0, 842.0, 1610.0, 2190.0]}
    cut = own["wavelengths"]
    assert match_bands(own, [1, 2, 3, 4, 5], cut) is None
    assert match_bands(own, range(1, 6), cut[::-1]) == [4, 3, 2, 1, 0]
    assert match_bands(own, range(1, 7), [443.0, *cut]) == [1, 2, 3, 4, 5]


@given(st.randoms(use_true_random=False), st.floats(-0.4, 0.4))
def test_any_order_and_numbering_of_the_bands_is_put_right(random, shift):
    numbers = list(range(1, 41))
    order = random.sample(range(len(CENTRES)), len(CENTRES))
    there = [list(CENTRES.values())[at] + shift for at in order]
    chosen = match_bands(card(numbers), range(1, len(there) + 1), there)
    chosen = list(range(len(there))) if chosen is None else chosen
    assert [there[at] - shift for at in chosen] == pytest.approx(
        [CENTRES[number] for number in numbers]
    )


def test_two_detectors_that_overlap_keep_their_order_when_all_is_shifted():
    own = {
        "bands": [1, 2, 3, 4],
        "wavelengths": [990.0, 1000.0, 1000.5, 1010.0],
        "fwhm": [8.0] * 4,
    }
    assert match_bands(own, [1, 2, 3, 4], [990.6, 1000.6, 1001.1, 1010.6]) is None
    # Bands of one wavelength are told apart by their numbers.
    same = {"bands": [7, 3], "wavelengths": [500.0, 500.0]}
    assert match_bands(same, [3, 5, 7], [500.0] * 3) == [2, 0]
    with pytest.raises(ModelError, match="which another band of the model takes"):
        match_bands(same, [3], [500.0])


def test_a_card_with_thousands_of_bands_costs_no_memory():
    many = 9000
    own = {"bands": list(range(many)), "wavelengths": [500.0] * many, "fwhm": [1e30] * many}
    with pytest.raises(ModelError, match="too many to match by wavelength"):
        match_bands(own, range(many), [501.0] * many)


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
        return match_bands(card(fwhm=fwhm), NUMBERS, centres(NUMBERS, shift))

    if fits:
        assert ask() is None
    else:
        with pytest.raises(ModelError, match="it lacks band"):
            ask()


def test_a_wavelength_that_is_not_known_is_no_reason_to_refuse():
    there = centres(NUMBERS)
    there[7] = np.nan
    assert match_bands(card(), NUMBERS, there) is None


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
    with pytest.raises(ModelError, match=r"(train it|save the model) again"):
        match_bands(damaged, [1], [400.0])


FEATURES = ["kpca1", "kpca1 area<50", "kpca2"]


def named(names, waves=None):
    return {"bands": [1, 2, 3], "wavelengths": waves, "band_names": names}


@pytest.mark.parametrize(
    "names", [FEATURES, ["pca1", "pca2", "mnf3"], ["band 1 std<2"] * 3]
)
def test_features_are_no_bands_and_bands_no_features(names):
    with pytest.raises(ModelError, match=rf"a stack of features \({names[0]}, .*the image"):
        match_bands(named(None, [400.0, 410.0, 420.0]), [1, 2, 3], None, names)
    with pytest.raises(ModelError, match="a stack of features"):
        match_bands(named(["red", "green", "blue"]), [1, 2, 3], None, names)
    with pytest.raises(
        ModelError, match=rf"on features \({names[0]}, .* not named so; give"
    ):
        match_bands(named(names), [1, 2, 3], None)
    with pytest.raises(ModelError, match="has bands with wavelengths; give the stack"):
        match_bands(named(names), [1, 2, 3], [400.0, 410.0, 420.0])
    assert match_bands(named(names), [1, 2, 3], None, names) is None


def test_other_features_are_named():
    with pytest.raises(
        ModelError,
        match="other names: 'kpca1 area<50' but 'kpca1 area<60' in the scene; give",
    ):
        match_bands(named(FEATURES), [1, 2, 3], None, ["kpca1", "kpca1 area<60", "kpca2"])
    more = ["pca1", *FEATURES]
    assert match_bands(named(FEATURES), [7, 1, 2, 3], None, more) == [1, 2, 3]


def test_names_of_bands_decide_only_where_nothing_else_does():
    colours, waves = ["red", "green", "blue"], [650.0, 560.0, 480.0]
    with pytest.raises(ModelError, match="'red' but 'blue' in the scene and"):
        match_bands(
            {"bands": list(range(1, 10)), "band_names": ["red"] * 9},
            range(1, 10),
            None,
            ["blue"] * 9,
        )
    assert match_bands(named(colours), [1, 2, 3], None, ["Red", "green ", "blue"]) is None
    assert match_bands(named(colours, waves), [1, 2, 3], waves, ["a", "b", "c"]) is None
    assert match_bands(named(colours), [1, 2, 3], None) is None
    assert match_bands(named(None), [1, 2, 3], None, colours) is None


def test_a_card_that_never_heard_of_names_keeps_working():
    old = {"bands": [1, 2, 3], "wavelengths": None}
    assert match_bands(old, [1, 2, 3], None, FEATURES) is None
    with pytest.raises(ModelError, match="a stack of features"):
        match_bands(card([1, 2, 3]), [1, 2, 3], None, FEATURES)


def test_thousands_of_narrow_bands_are_matched():
    many = 2000
    nm = [400 + 0.3 * band for band in range(many)]
    own = {"bands": list(range(many)), "wavelengths": nm, "fwhm": [0.3] * many}
    shifted = [x + 0.05 for x in reversed(nm)]
    assert match_bands(own, range(many), shifted) == list(reversed(range(many)))


def test_any_number_of_bands_fits_the_image_of_the_training():
    many = 6000
    nm = [400 + 0.3 * band for band in range(many)]
    own = {"bands": list(range(many)), "wavelengths": nm, "fwhm": [0.3] * many}
    assert match_bands(own, range(many), nm) is None
    with pytest.raises(ModelError, match="too many to match by wavelength"):
        match_bands(own, range(many), nm[::-1])
