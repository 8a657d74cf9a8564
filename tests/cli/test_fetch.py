"""The exit codes of ``fetch``: 1 may succeed later, 2 never will."""

from hypercover.scene.datasets.fetch import DownloadError


def test_an_address_that_refuses_is_a_run_that_failed(call, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise DownloadError("does not answer")

    monkeypatch.setattr("hypercover.scene.datasets.fetch.download", refused)
    words = ("fetch", "salinas-a", "--data", tmp_path, "-o", tmp_path / "new")
    answer = call(*words)
    assert answer.code == 1
    assert "does not answer; get them by hand" in answer.err
    assert not (tmp_path / "new").exists()


def test_unknown_scenes_and_addresses_are_wrong_calls(call, tmp_path):
    assert call("fetch", "nowhere", "-o", tmp_path).code == 2
    assert call("fetch", "rome", "--data", tmp_path, "-o", tmp_path / "new").code == 2
