"""What a gradient has to be besides right: each property is violated here, and found."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.kernels.threads import get_num_threads

X = np.random.default_rng(0).standard_normal((3, 4))


def failed(target, inputs=(X,), **options):
    report = gradcheck(target, inputs, raise_exception=False, **options)
    return {p.name: p.detail for p in report.properties if not p.ok}


def test_a_right_function_has_them_all():
    assert not failed(lambda x: (np.sin(x), lambda d: np.cos(x) * d), second_order=True)


def test_shapes_and_dtypes():
    def transposed(x):
        return x * 2, lambda d: 2 * d.T

    assert failed(transposed)["shapes and dtypes"] == (
        "x: shape (4, 3), expected (3, 4) (transposed?)"
    )

    def narrow(x):
        return x * 2, lambda d: (2 * d).astype(np.float32)

    assert failed(narrow)["shapes and dtypes"] == "x: float32, expected float64"

    def wide(x):
        return x * 2, lambda d: 2.0 * d.astype(np.float64)

    assert "float64, expected float32" in failed(wide, (X.astype(np.float32),))["shapes and dtypes"]

    def text(x):
        return x * 2, lambda d: "2"

    assert "x: <U1" in failed(text)["shapes and dtypes"]


@pytest.mark.parametrize("what", ["input", "cotangent", "output"])
def test_what_is_written_into(what):
    def f(x):
        y = np.sin(x)

        def pullback(d):
            given = {"input": x, "cotangent": d, "output": y}[what]
            result = np.cos(x) * d
            given += 1
            return result

        return y, pullback

    assert what in failed(f)["inputs untouched"]


def test_a_function_that_works_in_place_is_judged_all_the_same():
    def f(x, factor=1):
        before = x.copy()
        np.sin(x, out=x)
        return x.copy(), lambda d: factor * np.cos(before) * d

    report = gradcheck(f, (X,), raise_exception=False)
    assert [p.name for p in report.properties if not p.ok] == ["inputs untouched"]
    assert report.variables[0].checked == X.size
    assert not report.variables[0].wrong
    wrong = gradcheck(lambda x: f(x, 2), (X,), raise_exception=False)
    assert wrong.variables[0].wrong == X.size


def test_numbers_that_are_not_finite():
    report = gradcheck(lambda x: (x * np.nan, lambda d: d * np.nan), (X,), raise_exception=False)
    assert "output 0: 12 entries are not finite" in report.table()
    assert report.variables[0].kinks == 0
    assert report.variables[0].wrong == X.size
    edge = gradcheck(
        lambda x: (np.sqrt(x), lambda d: d / (2 * np.sqrt(x + (x == 0)))),
        (np.array([4.0, 0.0, 1.0]),),
    )
    assert edge.variables[0].kinks == 1


def test_what_differs_from_call_to_call():
    random = np.random.default_rng(0)

    def noisy(x):
        return np.sin(x) + 1e-9 * random.standard_normal(x.shape), lambda d: np.cos(x) * d

    assert "outputs of a second call" in failed(noisy)["repeatable"]
    assert "repeatable" not in failed(noisy, nondet_tol=1e-7)


def test_a_pullback_that_adds_up():
    def f(x):
        total = np.zeros(x.shape)

        def pullback(d):
            nonlocal total
            total = total + np.cos(x) * d
            return total

        return np.sin(x), pullback

    assert "the pullback called again" in failed(f)["repeatable"]


def test_what_is_not_linear():
    def affine(x):
        return np.sin(x), lambda d: np.cos(x) * d + 1e-9

    assert "not zero for a zero cotangent" in failed(affine)["linear in the cotangent"]

    def squared(x):
        return np.sin(x), lambda d: np.cos(x) * d * np.abs(d)

    assert "off by" in failed(squared)["linear in the cotangent"]


def test_what_cannot_read_strides():
    def raw(x):
        flat = np.frombuffer(np.ndarray.tobytes(x, order="A"), x.dtype).reshape(x.shape)
        start = x if x.flags.c_contiguous else np.zeros_like(x)  # as a kernel that ignores them
        return np.sin(start) + 0 * flat, lambda d: np.cos(start) * d

    assert "strided inputs" in failed(raw)


def test_refusing_strides_or_locks_is_said_and_no_error():
    def strict(x):
        if not x.flags.c_contiguous:
            raise ValueError("x must be contiguous")
        if not x.flags.writeable:
            raise ValueError("x is read-only")
        return np.sin(x), lambda d: np.cos(x) * d

    report = gradcheck(strict, (X,))
    details = {p.name: p.detail for p in report.properties}
    assert details["strided inputs"] == "refused, ValueError: x must be contiguous"
    assert details["read-only inputs"] == "refused, ValueError: x is read-only"


def test_threads_are_left_as_they_were():
    before = get_num_threads()
    gradcheck(fastrnn.Linear(3, 2, seed=0), (np.ones((4, 3), np.float32),))
    assert get_num_threads() == before


def test_what_depends_on_the_number_of_threads():
    def f(x):
        return np.sin(x), lambda d: np.cos(x) * d * (1 + 1e-15 * get_num_threads())

    assert "any number of threads" in failed(f)


def test_a_field_that_is_no_gradient():
    """Its rows are right alone, but the derivative of the gradient is not symmetric."""

    def f(x):
        return np.array([np.sum(x[0] * x[1])]), lambda d: np.stack([x[1], x[0] + x[0] ** 2]) * d[0]

    x = np.random.default_rng(1).standard_normal((2, 3))
    assert "symmetric second derivative" in failed(f, (x,), second_order=True)


def test_an_exception_in_one_check_is_what_it_found():
    def f(x):
        def pullback(d):
            if not d.any():
                raise RuntimeError("zero")
            return np.cos(x) * d

        return np.sin(x), pullback

    assert failed(f)["linear"] == "raises RuntimeError: zero"
