"""What a node of autograd runs: cells, lengths, dropout, and the same by torch's operations."""

import copy

import pytest

torch = pytest.importorskip("torch")


import fastrnn  # noqa: E402
import fastrnn.torch  # noqa: E402
from tests.support.states import members  # noqa: E402
from tests.support.torch_modules import F64, compare, flat, module_and_input, ours, pair  # noqa: E402


@pytest.mark.parametrize("batch", [(), (3,)], ids=["unbatched", "batched"])
@pytest.mark.parametrize("state", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=["bias", "no_bias"])
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_equal_torch(kind, options, state, batch, runs):
    reference = getattr(torch.nn, kind)(5, 7, dtype=torch.float64, **options)
    results = []
    for module in (reference, ours(reference)):
        torch.manual_seed(0)
        x, h, c = (
            torch.randn(*batch, n, dtype=torch.float64, requires_grad=True) for n in (5, 7, 7)
        )
        hx = None if not state else (h, c) if kind == "LSTMCell" else h
        new = members(module(x, hx))
        torch.autograd.backward(new, [torch.cos(n.detach()) for n in new])
        leaves = [x, *(members(hx) if state else ()), *module.parameters()]
        results.append([n.detach() for n in new] + [leaf.grad for leaf in leaves])
    compare(results[1], results[0])
    assert runs() == 1


def test_lengths_may_be_zero_and_are_checked():
    module, x = fastrnn.torch.LSTM(4, 3), torch.randn(5, 2, 4)
    output, (h, _) = module(x, lengths=torch.tensor([0, 3]))
    assert not output[:, 0].any()
    assert not h[:, 0].any()
    torch.testing.assert_close(output[:3, 1:], module(x[:3, 1:])[0])
    with pytest.raises(ValueError, match=r"lengths\[1\] is 6; expected whole numbers"):
        module(x, lengths=[1, 6])
    with pytest.raises(ValueError, match="lengths with packed input"):
        module(torch.nn.utils.rnn.pack_sequence([x[:, 0]]), lengths=[5])


def test_gradients_of_gradients_without_a_batch_axis():
    for batch_first in (False, True):
        module, x = module_and_input("LSTM", batch_first=batch_first)
        x = x[:, 0].detach().requires_grad_()
        assert torch.autograd.gradgradcheck(lambda x, module=module: module(x)[0], (x,))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_gradients_of_gradients_with_lengths(kind):
    options = {"num_layers": 2, "bidirectional": True, "batch_first": kind == "LSTM"}
    module, _ = module_and_input(kind, **options)
    x = torch.randn(3, 3, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = module.weight_hh_l1_reverse

    def by_lengths(x, h, _):
        return flat(module(x, (h, 2 * h) if kind == "LSTM" else h, lengths=[1, 3, 0]))

    def packed(x, *_):
        lengths, first = torch.tensor([1, 3, 2]), module.batch_first
        rows = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=False)
        output, state = module(rows)
        return flat((output.data, state))

    for call in (by_lengths, packed):
        assert torch.autograd.gradgradcheck(call, (x, h, weight), check_batched_grad=True)


@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_data_are_the_rows_of_each_sequence(batch_first):
    module = fastrnn.torch.GRU(5, 7, 2, batch_first=batch_first, dtype=F64)
    sequences = [torch.randn(n, 5, dtype=F64) for n in (2, 4, 1)]
    output, h_n = module(torch.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False))
    parts = torch.nn.utils.rnn.unpack_sequence(output)
    for b, sequence in enumerate(sequences):
        alone, last = module(sequence)
        torch.testing.assert_close(parts[b], alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(h_n[:, b], last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0.25, 1.0])
@pytest.mark.parametrize("lengths", [None, [6, 1, 4]], ids=["whole", "lengths"])
def test_dropout_is_drawn_as_torch_draws_it(p, lengths):
    """The same seed, the same masks: the same numbers as torch's own module in training."""
    reference, module = pair("LSTM", 5, 7, num_layers=2, dropout=p)
    x = torch.randn(6, 3, 5, dtype=F64)
    torch.manual_seed(3)
    if lengths is None:
        expected, _ = reference(x)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0])
    torch.manual_seed(3)
    output, _ = module(x, lengths=lengths)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    assert (output != module.eval()(x, lengths=lengths)[0]).any()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_state_changed_in_place_does_not_change_the_gradient(kind):
    """The first step of a shape comes the general way, and upper layers read h_n."""
    module = fastrnn.torch.accelerate(getattr(torch.nn, kind)(16, 32, 2))
    reference = fastrnn.torch.restore(copy.deepcopy(module))
    for one in (reference, module):
        output, state = one(torch.ones(1, 1, 16))
        with torch.no_grad():
            (state[0] if kind == "LSTM" else state).zero_()
        output.sum().backward()
    for got, want in zip(module.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)
