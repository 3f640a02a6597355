"""fastrnn.gradient_flow: its norms are those of the trace, its rates those of theory."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import init
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, configurations, every_cell


def flow_of(configuration, dtype=np.float64, **options):
    layer, values = configuration.layer(dtype), configuration.values(dtype)
    arguments = (
        layer,
        values["x"],
        values["d_output"],
        values["state"],
        configuration.array_lengths(),
        values["d_state"],
    )
    return fastrnn.gradient_flow(*arguments, **options), fastrnn.trace(*arguments)


@every_cell
@settings(max_examples=25)
@given(data=st.data())
def test_norms_of_the_trace_at_any_sizes(cell, data):
    c = data.draw(configurations(cell, np.float64))
    flow, t = flow_of(c)
    assert list(flow.passes) == list(t)
    lengths = c.lengths or (c.T,) * c.B
    for name, one in flow.passes.items():
        for curves, arrays in (
            (one.d_states, t[name].d_states),
            (one.d_preactivations, t[name].d_preactivations),
        ):
            assert list(curves) == list(arrays)
            for part, curve in curves.items():
                expected = np.linalg.norm(arrays[part], axis=-1)
                assert_close(curve.norm, expected, atol=1e-15, rtol=1e-12)
                norm = expected if c.batched else expected[:, None]
                norm = norm.T if c.batched and c.batch_first else norm
                assert len(curve.back) == max(lengths, default=0)
                for k, back in enumerate(curve.back):
                    of = [
                        norm[k if name.endswith("reverse") else n - 1 - k, b]
                        for b, n in enumerate(lengths)
                        if n > k
                    ]
                    assert math.isclose(back, np.sqrt(np.mean(np.square(of))), rel_tol=1e-9)
                    assert math.isclose(curve.smallest[k], min(of), rel_tol=1e-9)
                    assert math.isclose(curve.largest[k], max(of), rel_tol=1e-9)
    assert str(flow).count("mean step Jacobian") == len(flow.passes)
    json.dumps(flow.as_dict())


@pytest.mark.parametrize("factor", [0.5, 0.97, 1.0, 1.1])
def test_a_linear_network_has_the_rate_of_its_radius(factor):
    """ReLUs that stay positive, W_hh orthogonal but for a factor, without signs: a permutation."""
    layer = fastrnn.RNN(1, 8, nonlinearity="relu", dtype=np.float64, seed=0)
    layer.params["weight_hh_l0"][...] = factor * np.eye(8)[np.roll(np.arange(8), 1)]
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        layer.params[name][...] = 0.1
    flow = fastrnn.gradient_flow(layer, np.ones((60, 3, 1)), d_state=np.ones((1, 3, 8)))
    one = flow["l0"]
    assert math.isclose(one.spectral_radius["a"], factor, rel_tol=1e-12)
    assert math.isclose(one.jacobian_radius, factor, rel_tol=1e-12)
    assert math.isclose(one.d_states["h"].factor, factor, rel_tol=1e-9)
    assert np.allclose(one.d_states["h"].back, 8**0.5 * factor ** np.arange(60), rtol=1e-9)
    assert one.saturation["a"] == (0.0, 0.0, 0.0)
    assert not one.many_outputs


def test_the_constant_error_carousel():
    """Gates shut but for f, which is open: dL/dc goes back unchanged, dL/dh does not."""
    lstm = init.forget_bias(fastrnn.LSTM(1, 4, dtype=np.float64, seed=0), 40.0)
    lstm.params["weight_hh_l0"][...] = 0
    h, c = np.zeros((1, 2, 4)), np.ones((1, 2, 4))
    flow = fastrnn.gradient_flow(lstm, np.zeros((300, 2, 1)), d_state=(h, c))
    assert np.allclose(flow["l0"].d_states["c"].back, 2.0, rtol=1e-9)
    assert math.isclose(flow["l0"].d_states["c"].factor, 1.0, rel_tol=1e-9)
    assert not flow["l0"].d_states["h"].back.any()
    assert math.isnan(flow["l0"].d_states["h"].factor)
    assert math.isclose(flow["l0"].jacobian_radius, 1.0, rel_tol=1e-9)
    assert flow["l0"].saturation["f"] == (0.0, 1.0, 1.0)


def test_what_explodes_is_seen_and_what_overflows_is_no_warning():
    rnn = init.identity(fastrnn.RNN(1, 4, nonlinearity="relu"), 8.0, seed=0)
    rnn.params["bias_ih_l0"][...] = 1e-30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = fastrnn.gradient_flow(
            rnn, np.zeros((60, 1, 1), np.float32), d_state=np.ones((1, 1, 4), np.float32)
        )
    back = flow["l0"].d_states["h"].back
    assert np.isfinite(back[:40]).all()
    assert not np.isfinite(back[-1])
    assert math.isclose(flow["l0"].d_states["h"].factor, 8.0, rel_tol=1e-5)
    assert "inf" in str(flow) or "nan" in str(flow)


def test_what_vanishes_says_from_where_on():
    rnn = init.identity(fastrnn.RNN(1, 4, nonlinearity="relu"), 0.1, seed=0)
    rnn.params["bias_ih_l0"][...] = 1.0
    flow = fastrnn.gradient_flow(
        rnn, np.zeros((90, 1, 1), np.float32), d_state=np.ones((1, 1, 4), np.float32)
    )
    back = flow["l0"].d_states["h"].back
    last = np.flatnonzero(back)[-1]
    assert 35 < last < 50  # float32
    assert f"0 from {last + 1} back on" in str(flow)
    assert math.isclose(flow["l0"].d_states["h"].factor, 0.1, rel_tol=1e-3)


def test_norms_near_the_least_number_are_right():
    rnn = init.identity(fastrnn.RNN(1, 4, nonlinearity="relu", dtype=np.float64), 0.1, seed=0)
    rnn.params["bias_ih_l0"][...] = 1.0
    flow = fastrnn.gradient_flow(rnn, np.zeros((250, 2, 1)), d_state=np.ones((1, 2, 4)))
    back = flow["l0"].d_states["h"].back
    assert np.allclose(back, 2 * 0.1 ** np.arange(250), rtol=1e-9, atol=0)


def test_saturation_counts_by_the_function_of_the_gate():
    gru = fastrnn.GRU(1, 2, dtype=np.float64, seed=0)
    for value in gru.params.values():
        value[...] = 0
    gru.params["bias_ih_l0"][...] = [-9, 9, 9, 0, 9, -9]  # r low, high; z high, half; n high, low
    x, d = np.zeros((10, 3, 1)), np.ones((1, 3, 2))
    found = fastrnn.gradient_flow(gru, x, d_state=d)["l0"].saturation
    assert found == {"r": (0.5, 0.5, 1.0), "z": (0.0, 0.5, 0.5), "n": (0.5, 0.5, 1.0)}
    z = 1 / (1 + math.exp(-2))  # 0.88: |2 z - 1| is 0.76
    gru.params["bias_ih_l0"][2] = 2
    for threshold, share in ((0.75, 0.5), (0.77, 0.0)):
        assert (abs(2 * z - 1) > threshold) == bool(share)
        flow = fastrnn.gradient_flow(gru, x, d_state=d, threshold=threshold)
        assert flow["l0"].saturation["z"].high == share


def test_dead_units():
    rnn = fastrnn.RNN(1, 4, nonlinearity="relu", dtype=np.float64, seed=0)
    for value in rnn.params.values():
        value[...] = 0
    rnn.params["weight_ih_l0"][:2] = 1.0  # two live where x is positive
    rnn.params["bias_ih_l0"][2] = 1.0  # one always, one never
    x = np.tile(np.array([1.0, -1.0]), 5)[:, None, None]
    one = fastrnn.gradient_flow(rnn, x, d_state=np.ones((1, 1, 4)))["l0"]
    assert one.saturation["a"] == (0.5, 0.0, 0.25)


@every_cell
def test_many_outputs_are_told(cell):
    c = Configuration(cell, num_layers=2, T=6)
    layer, values = c.layer(np.float64), c.values(np.float64)
    last = np.zeros_like(values["d_output"])
    last[-1] = 1
    for d_output, many in ((last, False), (values["d_output"], True)):
        flow = fastrnn.gradient_flow(layer, values["x"], d_output)
        assert flow["l1"].many_outputs is many
        assert flow["l0"].many_outputs  # the layer above read all its steps
        assert str(flow).count("steps add up") == 1 + many


def test_bad_arguments():
    rnn, x = fastrnn.RNN(3, 4, seed=0), np.ones((5, 2, 3), np.float32)
    d = np.ones((5, 2, 4), np.float32)
    with pytest.raises(ValueError, match=r"gradient_flow: no gradient is given; expected d_output"):
        fastrnn.gradient_flow(rnn, x)
    with pytest.raises(TypeError, match="gradient_flow: layer is a int"):
        fastrnn.gradient_flow(3, x, d)
    with pytest.raises(ValueError, match="RNN: d_output has shape"):
        fastrnn.gradient_flow(rnn, x, d[:2])
    for wrong in (0, 1, 2.0, np.nan, "0.9", True):
        with pytest.raises(ValueError, match="threshold should be a number between 0 and 1"):
            fastrnn.gradient_flow(rnn, x, d, threshold=wrong)


def test_a_long_sequence_takes_seconds():
    gru = fastrnn.GRU(4, 8, seed=0)
    x = np.random.default_rng(0).normal(size=(20_000, 1, 4)).astype(np.float32)
    flow = fastrnn.gradient_flow(gru, x, d_state=np.ones((1, 1, 8), np.float32))
    assert flow["l0"].d_states["h"].back.shape == (20_000,)
    assert flow["l0"].jacobian_steps == 20_000
