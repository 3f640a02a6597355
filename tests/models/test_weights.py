"""How much sequences and classes count: as if they were there more often, or not at all."""

from functools import partial

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNRegressor, RNNTagger, weights
from fastrnn.models.sequences import Sequences
from tests.support.fitted import fit
from tests.support.small_fits import same
from tests.support.small_fits import weights as parameters

RANDOM = np.random.default_rng(0)
X = ["".join(RANDOM.choice(list("ab"), t)) for t in RANDOM.integers(1, 8, 12)]
LABELS = [word[-1] for word in X]
KINDS = {
    RNNClassifier: LABELS,
    RNNRegressor: [[len(word), word.count("a")] for word in X],
    RNNTagger: [word.upper() for word in X],
}
COUNT = RANDOM.integers(0, 4, 12)
EXACT = {"epochs": 4, "lr": 0.02, "dtype": "float64", "batch_size": 100}
every = pytest.mark.parametrize("kind", KINDS)


def repeated(values, count=COUNT):
    return [value for value, n in zip(values, count, strict=True) for _ in range(int(n))]


@every
@pytest.mark.parametrize("scale", [1, 1e-300, 1e300])
def test_a_weight_is_a_number_of_times(kind, scale):
    y = KINDS[kind]
    weighted = kind(5, **EXACT).fit(X, y, sample_weight=COUNT * scale)
    several = kind(5, **EXACT).fit(repeated(X), repeated(y))
    for one, other in zip(parameters(weighted), parameters(several), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    np.testing.assert_allclose(weighted.history_["loss"], several.history_["loss"], rtol=1e-9)
    score = weighted.score(X, y, sample_weight=COUNT)
    assert np.isclose(score, weighted.score(repeated(X), repeated(y)), rtol=1e-12)


@every
@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_no_weight_is_absence(kind, fraction):
    """To the bit, in small batches too, as long as the rest has the same symbols and classes."""
    kept, y = np.arange(12) % 3 > 0, KINDS[kind]
    options = {"epochs": 3, "batch_size": 2, "validation_fraction": fraction, "num_layers": 2}
    weighted = kind(5, dropout=0.2, **options).fit(X, y, sample_weight=kept)
    absent = kind(5, dropout=0.2, **options).fit(repeated(X, kept), repeated(y, kept))
    assert same(parameters(weighted), parameters(absent))
    np.testing.assert_allclose(weighted.history_["loss"], absent.history_["loss"], rtol=1e-6)
    if fraction:
        found = [model.history_["validation_loss"] for model in (weighted, absent)]
        np.testing.assert_allclose(*found, rtol=1e-6)


@every
def test_equal_weights_are_none(kind):
    plain = kind(5, epochs=2, batch_size=4).fit(X, KINDS[kind])
    equal = kind(5, epochs=2, batch_size=4).fit(X, KINDS[kind], sample_weight=np.full(12, 0.3))
    assert same(parameters(plain), parameters(equal))


@every
def test_batches_of_one_keep_their_weights(kind):
    """Divided by the batch's own weight, each would count alike."""
    y, weight = KINDS[kind], np.arange(12) + 1.0
    options = {**EXACT, "batch_size": 1, "lr": 1e-3, "optimizer": "sgd", "clip_norm": None}
    seen = fit(kind(5, **options), X, y, sample_weight=weight)
    rows = np.arange(12)
    each = [list(seen.losses(rows[[n]], True)) for n in rows]
    total = sum(loss.value * loss.weight for [loss] in each) / sum(loss.weight for [loss] in each)
    [whole] = seen.losses(rows, True)
    assert np.isclose(total, whole.value, rtol=1e-12)
    plain = fit(kind(5, **options), X, y)
    ratio = each[-1][0].value / next(plain.losses(rows[[-1]], True)).value
    assert not np.isclose(ratio, each[0][0].value / next(plain.losses(rows[[0]], True)).value)


@pytest.mark.parametrize("kind", [RNNClassifier, RNNTagger])
class TestClasses:
    def labels(self, kind):
        return LABELS if kind is RNNClassifier else X

    def test_a_dict_is_weights_of_the_labels(self, kind):
        y = self.labels(kind)
        by_class = kind(5, class_weight={"a": 3}, **EXACT).fit(X, y)
        if kind is RNNClassifier:
            each = [3 if label == "a" else 1 for label in LABELS]
            by_hand = kind(5, **EXACT).fit(X, y, sample_weight=each)
            assert same(parameters(by_class), parameters(by_hand))
        plain = kind(5, **EXACT).fit(X, y)
        assert not same(parameters(by_class), parameters(plain))
        equal = kind(5, class_weight={"a": 2, "b": 2, "unseen": 5}, **EXACT).fit(X, y)
        for one, other in zip(parameters(equal), parameters(plain), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("count", [None, COUNT + 1])
    def test_balanced(self, kind, count):
        y = self.labels(kind)
        steps = [len(label) for label in y]
        weight = np.ones(12) if count is None else count
        letters, each = np.array(list("".join(y))), np.repeat(weight, steps)
        n = each.sum()
        wanted = {label: n / (2 * each[letters == label].sum()) for label in "ab"}
        by_hand = kind(5, class_weight=wanted, **EXACT).fit(X, y, sample_weight=count)
        balanced = kind(5, class_weight="balanced", **EXACT).fit(X, y, sample_weight=count)
        for one, other in zip(parameters(balanced), parameters(by_hand), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("auto", "class_weight must be None, 'balanced' or a dict.*; got 'auto'"),
            ([1, 2], r"class_weight must be None, 'balanced' or a dict.*; got \[1, 2\]"),
            ({"a": -1}, r"class_weight\['a'\] is -1; expected a finite number of at least 0"),
            ({"a": np.nan}, r"class_weight\['a'\] is nan"),
            ({"a": None}, r"class_weight\['a'\] is None"),
            ({"A": 1}, r"The classes, \['a', 'b'\], are not in class_weight, which has \['A'\]"),
            ({"a": 0, "b": 0}, "class_weight leaves a weight of 0 to all"),
        ],
        ids=str,
    )
    def test_what_is_refused(self, kind, given, message):
        model = kind(5, class_weight=given)  # as scikit-learn wants it, nothing is said here
        with pytest.raises(ValueError, match=message):
            model.fit(X, self.labels(kind))


@every
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, -1], r"sample_weight\[1\] is -1.0; expected finite numbers of at least 0"),
        ([1, np.nan], r"sample_weight\[1\] is nan"),
        ([1, np.inf], r"sample_weight\[1\] is inf"),
        ([1, None], r"sample_weight\[1\] is None"),
        (np.ma.array([1, 2], mask=[0, 1]), r"sample_weight\[1\] is masked"),
        ([1], r"sample_weight has shape \(1,\); expected \(N,\) = \(2,\)"),
        (2.0, r"sample_weight has shape \(\); expected"),
        ([[1], [2]], r"sample_weight has shape \(2, 1\)"),
        ([0, 0], "Sample weights must contain at least one non-zero number"),
        (["1", "2"], "sample_weight is <U1; expected numbers"),
        ("balanced", "sample_weight is one str"),
        ([1j, 1], "Complex data not supported"),
    ],
    ids=str,
)
def test_what_is_refused(kind, given, message):
    x, y = X[:2], KINDS[kind][:2]
    with pytest.raises((TypeError, ValueError), match=message):
        kind(3, epochs=1).fit(x, y, sample_weight=given)
    model = kind(3, epochs=1).fit(x, y)
    with pytest.raises((TypeError, ValueError), match=message):
        model.score(x, y, sample_weight=given)


def test_losses_are_those_of_torch():
    torch = pytest.importorskip("torch")
    logits, right = RANDOM.normal(size=(6, 3)), RANDOM.integers(0, 3, 6)
    each = RANDOM.random(6)
    leaf = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(leaf, torch.tensor(right), reduction="none")
    (loss * torch.tensor(each)).mean().backward()
    value, gradient = weights.cross_entropy(logits, right, each)
    assert np.isclose(value, (loss.detach().numpy() * each).mean(), rtol=1e-12)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-12)
    target = RANDOM.normal(size=(6, 3))
    leaf = torch.tensor(logits, requires_grad=True)
    squares = torch.square(leaf - torch.tensor(target)).mean(1)
    (squares * torch.tensor(each)).mean().backward()
    value, gradient = weights.squared_error(logits, target, each)
    assert np.isclose(value, (squares.detach().numpy() * each).mean(), rtol=1e-12)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-12)


def test_unknown_targets_do_not_count():
    logits = RANDOM.normal(size=(4, 3))
    value, gradient = weights.cross_entropy(logits, np.array([0, 3, 2, 3]), None)
    expected, part = weights.cross_entropy(logits[[0, 2]], np.array([0, 2]), None)
    assert np.isclose(value, expected)
    assert np.allclose(gradient[[0, 2]], part)
    assert not gradient[[1, 3]].any()


def test_each_group_has_its_own_mean():
    values = np.array([1.0, 2.0, 3.0, 6.0, 9.0])
    given = Sequences(values, np.array([0, 2, 3]), np.array([2, 1, 2]))
    found = weights.normalised(given, [np.array([0, 1]), np.array([2])])
    np.testing.assert_allclose(found.values, [0.5, 1, 1.5, 0.8, 1.2])
    assert (given.values == values).all()


def test_what_counts_at_all():
    given = partial(Sequences, starts=np.array([0, 2, 3]), lengths=np.array([2, 1, 2]))
    assert weights.counted(given(np.array([0.0, 0.1, 0.0, 0.0, 1.0]))).tolist() == [0, 2]
