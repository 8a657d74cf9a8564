"""Joining seeds: means, spread, added matrices, and a choice without test pixels."""

import pytest

from hypercover.experiment.summary import best_model, never_predicted_notes, summarise


def result(accuracy, matrix, codes=(1, 2), validation=None, users=1.0):
    return {
        "description": "x",
        "overall_accuracy": accuracy,
        "average_accuracy": accuracy,
        "kappa": None,
        "validation_accuracy": validation,
        "train_seconds": 2.0,
        "predict_seconds": 1.0,
        "per_class": [
            {
                "code": code,
                "name": str(code),
                "train_count": 1,
                "test_count": 2,
                "producers_accuracy": accuracy,
                "users_accuracy": users,
                "f1": None,
            }
            for code in codes
        ],
        "confusion": {"codes": list(codes), "matrix": matrix},
        "leakage": {"window": 9, "centre_in_window": accuracy, "window_overlap": 1.0},
    }


def test_one_result_keeps_its_exact_figures():
    one = result(0.5, [[1, 1], [0, 2]])
    joined = summarise([one], [7])
    assert joined["confusion"] == one["confusion"]
    assert joined["per_class"] == one["per_class"]
    assert joined["spread"] is None
    assert joined["repeats"] == [
        {"seed": 7, "overall_accuracy": 0.5, "average_accuracy": 0.5, "kappa": None}
    ]


def test_several_results_are_averaged_and_their_matrices_added():
    joined = summarise(
        [result(0.4, [[1, 0], [0, 1]]), result(0.6, [[2]], codes=(3,))], [0, 1]
    )
    assert joined["overall_accuracy"] == pytest.approx(0.5)
    assert joined["spread"]["overall_accuracy"] == pytest.approx(0.02**0.5)
    assert joined["kappa"] is None
    assert joined["spread"]["kappa"] is None
    assert joined["confusion"] == {
        "codes": [1, 2, 3],
        "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 2]],
    }
    assert [row["code"] for row in joined["per_class"]] == [1, 2, 3]
    assert joined["leakage"]["centre_in_window"] == pytest.approx(0.5)


def test_an_undefined_class_accuracy_is_left_out_of_the_mean():
    first, second = (
        result(0.4, [[1]], codes=(1,), users=None),
        result(0.6, [[1]], codes=(1,), users=0.8),
    )
    assert summarise([first, second], [0, 1])["per_class"][0][
        "users_accuracy"
    ] == pytest.approx(0.8)


def test_the_best_model_is_chosen_by_validation_never_by_test():
    models = {
        "a": result(0.9, [[1]], validation=0.5),
        "b": result(0.1, [[1]], validation=0.6),
    }
    assert best_model(models) == "b"
    assert best_model({"a": result(0.9, [[1]])}) is None


def test_what_each_seed_chose_is_kept():
    def chosen(cost, seconds):
        best = {"C": cost, "gamma": 0.5, "scale": None, "accuracy": 0.9}
        found = {"search": {"best": best, "searched": ["C"]}, "search_seconds": seconds}
        return result(0.5, [[1, 0], [0, 1]]) | found

    joined = summarise([chosen(10.0, 1.0), chosen(1.0, 3.0)], [4, 5])
    assert joined["search"]["best"]["C"] == 10.0
    assert [(own["seed"], own["C"]) for own in joined["search"]["choices"]] == [
        (4, 10),
        (5, 1),
    ]
    assert joined["search_seconds"] == pytest.approx(2.0)
    assert "choices" not in summarise([chosen(10.0, 1.0)], [4])["search"]
    plain = [result(0.5, [[1, 0], [0, 1]])] * 2
    assert "search" not in summarise(plain, [0, 1])


def test_classes_that_a_model_never_answers_are_noted():
    """The lecture's recipe on Salinas-A: 92.6 % right overall, and a class is gone."""
    silent, fine = result(0.9, [[18, 0], [2, 0]]), result(0.5, [[1, 1], [0, 2]])
    (note,) = never_predicted_notes({"models": {"cnn": silent, "svm": fine}})
    assert note.startswith(
        "cnn answers 1 of the classes for no test pixel, though 2 test pixels have it: 2 (2)."
    )
    # With several seeds it is said only of a class that no seed found.
    joined = summarise([silent, result(0.5, [[1, 1], [1, 1]])], [1, 2])
    assert never_predicted_notes({"models": {"cnn": joined}}) == []
