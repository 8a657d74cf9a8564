"""Commands that messages suggest can be copied, spaces in folders and all."""

import shlex

import pytest

from hypercover.classifiers.bundle import load_bundle, save_bundle


@pytest.fixture
def model(trained, tmp_path):
    """A bundle in a folder whose name has a space."""
    folder = tmp_path / "my models" / "svm"
    folder.parent.mkdir()
    bundle = load_bundle(trained)
    save_bundle(folder, bundle.classifier, bundle.card)
    return folder


def suggested(text, after):
    """Return the words of the command that follows in a text, as a shell reads them."""
    return shlex.split(text.partition(after)[2].splitlines()[0])


def test_the_plan_that_is_ready(fields, call, tmp_path):
    run = tmp_path / "my run"
    answer = call("plan", fields.experiment, "-o", run, "--ready")
    assert answer.code == 0, answer.err
    words = suggested(answer.out, "Ready: ")
    assert words == ["hypercover", "work", str(run), "--task", "1"]
    assert call(*words[1:]).code == 0


def test_the_data_for_an_exported_model(model, call, tmp_path):
    answer = call("libsvm", "export", model, "-o", tmp_path / "my svm.model")
    assert answer.code == 0, answer.err
    text = " ".join(answer.out.split())
    assert suggested(text, "svm-scale -r ")[0] == f"{tmp_path}/my svm.model.range,"
    assert suggested(text, "SCENE --model ")[0] == f"{model}."
