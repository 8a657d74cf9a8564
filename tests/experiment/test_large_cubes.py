"""A cube too large to be held gives the same answers as one in memory."""

import numpy as np
import pytest

from hypercover.classifiers.svm.svm_classifier import SVMClassifier
from hypercover.experiment.config import builders
from hypercover.experiment.config.builders import load_scene
from hypercover.experiment.config.schema import SceneSpec
from hypercover.experiment.tasks.trial import run_trial
from hypercover.scene.simulation.simulate import simulate
from hypercover.splits.random_split import RandomSplit
from hypercover.windows.windows import Windows


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    """The same scene held in memory and left in its file."""
    image, labels = simulate(tmp_path / "s.tif", rows=70, cols=50, bands=8, classes=3)
    spec = SceneSpec(path=image, labels=labels, drop_bands="2")
    held = load_scene(spec)
    builders.forget_scene()
    monkeypatch.setattr(builders, "MAX_CUBE_BYTES", held.cube.nbytes - 1)
    left = load_scene(spec)
    builders.forget_scene()
    return held, left


def test_it_stays_in_its_file_and_is_the_same(scenes):
    held, left = scenes
    assert held.cube.variable._in_memory
    assert not left.cube.variable._in_memory
    split = RandomSplit(train=0.2).split(held.usable_labels, seed=0)
    answers = [run_trial(SVMClassifier(), scene, split).predictions for scene in scenes]
    np.testing.assert_array_equal(answers[0].predicted, answers[1].predicted)
    assert not left.cube.variable._in_memory


def test_windows_of_it_are_the_same(scenes):
    split = RandomSplit(train=5).split(scenes[0].usable_labels, seed=0)
    samples = split.samples("train", scenes[0].usable_labels)
    held, left = (Windows.of(scene, samples, 5).cut() for scene in scenes)
    np.testing.assert_array_equal(held, left)
