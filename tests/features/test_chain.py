"""Chains: written as text or as a list, fitted step by step, kept and taken back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercover.errors import CallError, ModelError, SceneError
from hypercover.features.chain import Chain
from hypercover.features.spectral_features import KPCA, MNF, PCA


@pytest.mark.parametrize(
    "spec",
    [
        "mnf:6,kpca:3",
        " mnf : 6 , kpca: 3 ",
        ["mnf:6", "kpca:3"],
        ["mnf:6,kpca:3"],
        [{"mnf": 6}, {"kpca": {"components": 3}}],
        [{"mnf": "6"}, "kpca:3"],
    ],
)
def test_text_and_list_mean_the_same(spec):
    chain = Chain.parse(spec)
    assert chain == Chain.parse("mnf:6,kpca:3")
    assert chain.features == (MNF(6), KPCA(3))
    assert chain.text == "mnf:6,kpca:3"
    assert chain.reach == 0


def test_a_feature_alone_has_its_defaults():
    assert Chain.parse("kpca").features == (KPCA(),)
    assert Chain.parse([{"kpca": None}]).text == "kpca"


def test_settings_beyond_the_first_are_shown():
    chain = Chain.parse([{"kpca": {"components": 4, "gamma": 0.5}}])
    assert chain.features == (KPCA(4, gamma=0.5),)
    assert chain.text == "kpca:4 (gamma 0.5)"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "Unknown image feature ''; choose one of kpca"),
        ("kpca:5,", "Unknown image feature ''"),
        ("svm", "Unknown image feature 'svm'; choose one of"),
        ("kpca:many", "Cannot read kpca:many; give the number of components"),
        ("kpca:5:6", "Cannot read kpca:5:6"),
        ("pca:0", "at least 1 component, got 0"),
        ([], "1 to 16 steps, got 0"),
        ("pca:1," * 16 + "pca:1", "1 to 16 steps, got 17"),
        ([{"pca": {"component": 3}}], "no parameter component; choose from components"),
        ([{"pca": 3, "mnf": 3}], "A step of a chain must be written"),
        ([3], "A step of a chain must be written"),
        ([["pca:3"]], "A step of a chain must be written"),
        ([{3: 4}], "Unknown image feature '3'"),
        ([{"kpca": {"gamma": "wide"}}], "must be a number above 0"),
    ],
)
def test_what_is_no_chain_is_refused_by_name(spec, said):
    with pytest.raises(CallError, match=said):
        Chain.parse(spec)


def test_each_step_takes_what_the_one_before_made(textured):
    between = MNF(6).fit(textured).transform(textured)
    expected = KPCA(3, sample=70).fit(between, seed=2).transform(between)
    chain = Chain.parse([{"mnf": 6}, {"kpca": {"components": 3, "sample": 70}}])
    found = chain.fit_transform(textured, seed=2)
    np.testing.assert_array_equal(found.cube, expected.cube)
    apart = Chain.parse(chain.state()[0]["steps"]).fit(textured, seed=2)
    np.testing.assert_array_equal(apart.transform(textured).cube, expected.cube)


def test_no_label_is_looked_at(textured):
    blind = textured.replace(labels=None)
    spec = "mnf:4,kpca:2"
    seeing = Chain.parse(spec).fit_transform(textured)
    np.testing.assert_array_equal(seeing.cube, Chain.parse(spec).fit_transform(blind).cube)


def test_progress_goes_up_evenly_to_the_end(textured):
    said = []
    chain = Chain.parse("mnf:4,pca:2")
    chain.fit_transform(textured, progress=lambda done, total: said.append(done / total))
    assert said == sorted(said)
    assert said[-1] == 1.0
    assert 0.5 in said


def test_a_fitted_chain_can_be_kept_as_plain_data(textured):
    chain = Chain.parse("mnf:5,pca:3").fit(textured)
    settings, arrays = chain.state()
    again = Chain.from_state(json.loads(json.dumps(settings)), dict(arrays))
    assert again.text == chain.text
    assert isinstance(again.features[1], PCA)
    assert {name.partition(".")[0] for name in arrays} == {"0", "1"}
    np.testing.assert_array_equal(
        again.transform(textured).cube, chain.transform(textured).cube
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda settings, arrays: settings.clear(),
        lambda settings, arrays: settings.update(steps="pca:3"),
        lambda settings, arrays: settings.update(fitted={}),
        lambda settings, arrays: settings["fitted"].pop(),
        lambda settings, arrays: settings["fitted"].append(3),
        lambda settings, arrays: settings.update(fitted=[None, None]),
        lambda settings, arrays: settings["steps"].pop(),
        lambda settings, arrays: settings.update(steps=["pca:3,pca:2", "pca:1"]),
        lambda settings, arrays: settings["steps"].__setitem__(0, {"os": "system"}),
        lambda settings, arrays: settings.update(
            steps=[{"pca": {}}] * 99, fitted=[{}] * 99
        ),
        lambda settings, arrays: settings.update(steps=[["pca"], {}]),
        lambda settings, arrays: arrays.clear(),
        lambda settings, arrays: arrays.pop("1.mean"),
        lambda settings, arrays: arrays.update({"0.mean": np.array("x")}),
    ],
)
def test_a_damaged_state_is_refused(textured, damage):
    settings, arrays = Chain.parse("mnf:5,pca:3").fit(textured).state()
    damage(settings, arrays)
    with pytest.raises(CallError):
        Chain.from_state(settings, arrays)


def test_bands_that_are_not_those_of_the_fit_are_refused(textured):
    chain = Chain.parse("mnf:5,pca:3").fit(textured)
    with pytest.raises(ModelError, match="fitted on 12 bands and the scene field has 2"):
        chain.transform(textured.take_bands([0, 1]))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", max_size=2) | st.just("area"), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from(["kpca", "pca", "mnf", "esdap", "rome", "lecture", "nwfe", "x"])
settings_of_features = st.sampled_from(
    [
        "components",
        "sample",
        "gamma",
        "attributes",
        "thresholds",
        "count",
        "rule",
        "resolution",
        "n_jobs",
        "y",
    ]
)
items = (
    st.text("kpcaesdmnf:,+=/.0123456789 -", max_size=12)
    | st.tuples(names, st.text("0123456789area+std=/.-", max_size=9)).map(":".join)
    | st.dictionaries(
        names,
        values | st.dictionaries(settings_of_features, values, max_size=3),
        max_size=2,
    )
)


@given(st.lists(items, max_size=3) | st.text(max_size=20))
def test_whatever_is_asked_for_is_a_chain_or_a_call_error(spec):
    try:
        chain = Chain.parse(spec)
    except CallError:
        return
    assert chain.text
    assert Chain.parse([step.to_json() for step in chain.steps]) == chain


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "steps": st.lists(values | items, max_size=2),
            "fitted": st.lists(values, max_size=2),
        },
    )
)
def test_whatever_a_stranger_saved_is_refused_by_a_call_error(settings):
    with pytest.raises(CallError):
        Chain.from_state(settings, {"0.mean": np.zeros(3)})


def test_attributes_may_be_listed_in_any_form():
    chains = [
        Chain.parse(spec)
        for spec in (
            "esdap:area+std",
            [{"esdap": ["area", "std"]}],
            [{"esdap": {"attributes": ["area", "std"]}}],
            [{"esdap": {"attributes": "area+std"}}],
        )
    ]
    assert all(chain == chains[0] for chain in chains)
    assert chains[0].reach is None


def test_named_chains_stand_for_their_steps():
    rome = Chain.parse("rome")
    assert rome.outputs(5) == 55
    both = Chain.parse("pca:5,rome")
    assert both.steps == (*Chain.parse("pca:5").steps, *rome.steps)
    assert Chain.parse(["pca:5", "rome"]) == both


def test_how_many_features_there_will_be_is_known_before(textured):
    chain = Chain.parse("mnf:4,esdap:area=2/5/9")
    assert chain.outputs(12) == chain.fit_transform(textured).n_bands == 16
    with pytest.raises(CallError, match="MNF cannot compute 4 components from 3 bands"):
        chain.outputs(3)


@pytest.mark.parametrize("chain", ["kpca:2", "pca:2", "mnf:2", "esdap:std"])
@pytest.mark.parametrize("fill", [-np.finfo(np.float32).max, np.finfo(np.float64).max])
def test_a_fill_value_that_the_file_does_not_name_is_no_measurement(placed, chain, fill):
    cube = np.random.default_rng(0).random((4, 9, 8))
    cube[:, :3] = fill
    with pytest.raises(SceneError, match="which are no measurements"):
        Chain.parse(chain).fit_transform(placed(cube))


def test_the_list_form_may_be_given_as_text():
    text = "[kpca:3, {esdap: {attributes: area, resolution: 5}}]"
    listed = Chain.parse(["kpca:3", {"esdap": {"attributes": "area", "resolution": 5}}])
    assert Chain.parse(text) == listed


@pytest.mark.parametrize("text", ["[kpca:3", "[" * 5000, "[]", "[3]", "[!!python/none x]"])
def test_a_text_that_is_no_list_of_steps_is_refused(text):
    with pytest.raises(CallError):
        Chain.parse(text)


@pytest.mark.parametrize("thresholds", ["automatic", [3.0, 9.0]])
def test_a_fit_that_takes_long_reports_from_its_first_band(textured, thresholds):
    said = []
    chain = Chain.parse([{"esdap": {"attributes": "area", "thresholds": thresholds}}])
    chain.fit_transform(textured, progress=lambda done, total: said.append(done / total))
    assert said == sorted(said)
    assert said[-1] == 1.0
    # 12 bands: their thresholds are half of the work, where trees are built for them.
    learning = [share for share in said if share <= 0.5]
    if thresholds == "automatic":
        assert learning[:12] == pytest.approx([n / 24 for n in range(1, 13)], abs=1e-3)
    else:
        assert len(said) == 12 * 3
