"""Blocks side by side: all of them, the first error, and nothing left changed behind them."""

import threading

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from hypercover.classifiers.svm.threads import run_in_threads


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if _is_blas(library)]


def _is_blas(library):
    return library["user_api"] == "blas"


def test_every_block_is_done_once():
    done = []
    run_in_threads(done.append, range(100))
    assert sorted(done) == list(range(100))


def test_matrix_products_have_one_thread_inside_and_their_own_again_outside():
    with threadpool_limits(3, user_api="blas"):
        before, inside = blas_threads(), []
        run_in_threads(lambda _: inside.extend(blas_threads()), range(4))
        assert set(inside) == {1}
        assert blas_threads() == before


def test_as_many_threads_as_matrix_products_would_use():
    meeting = threading.Barrier(3, timeout=300)
    with threadpool_limits(3, user_api="blas"):
        run_in_threads(lambda _: meeting.wait(), range(6))
    names = set()
    with threadpool_limits(1, user_api="blas"):
        run_in_threads(lambda _: names.add(threading.current_thread().name), range(6))
    assert len(names) == 1


def test_callers_side_by_side_leave_the_threads_as_they_were():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first_is_in, second_is_in = threading.Event(), threading.Event()

        def first(_):
            first_is_in.set()
            assert second_is_in.wait(30)

        def second(_):
            second_is_in.set()

        one = threading.Thread(target=run_in_threads, args=(first, range(2)))
        one.start()
        assert first_is_in.wait(30)
        run_in_threads(second, range(2))
        one.join(30)
        assert blas_threads() == before


def test_the_first_error_is_raised_and_the_threads_come_back():
    def work(block):
        if block == 3:
            raise ZeroDivisionError

    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        run_in_threads(work, range(10))
    assert blas_threads() == before


@pytest.mark.parametrize("blocks", [[], [7]])
def test_a_single_block_needs_no_other_thread(blocks):
    names = []
    run_in_threads(lambda _: names.append(threading.current_thread()), blocks)
    assert names == [threading.current_thread()] * len(blocks)
