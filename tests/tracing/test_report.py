"""The result of gradient_flow: as a table, as dicts for JSON, and by name."""

import json
import math

import numpy as np
import pytest

import fastrnn
from fastrnn.tracing.report import Curve, GradientFlow, PassFlow, Saturation


def test_the_table():
    lstm = fastrnn.LSTM(2, 3, bidirectional=True, seed=0)
    flow = fastrnn.gradient_flow(lstm, np.ones((7, 2, 2), np.float32), np.ones((7, 2, 6), "f4"))
    lines = str(flow).splitlines()
    assert lines[0] == "gradient flow in LSTM(2, 3, bidirectional=True): T = 7, B = 2"
    assert [line.split()[0] for line in lines if line] == [
        "gradient",
        *(["l0", "dL/dh", "dL/dc", *["gate"] * 4, "many", "mean"]),
        *(["l0_reverse", "dL/dh", "dL/dc", *["gate"] * 4, "many", "mean"]),
    ]
    assert max(map(len, lines)) <= 100
    with pytest.raises(KeyError, match="the layer has"):
        flow["l1"]


def flow(back, many=False):
    back = np.array(back)
    curve = Curve(back[:, None], back, back, back, 0.5)
    one = PassFlow({"h": curve}, {"a": curve}, {"a": 0.9}, 0.8, 3, {"a": Saturation(0, 0, 0)}, many)
    return GradientFlow("RNN(1, 2)", len(back), 1, 0.95, {"l0": one})


def test_a_gradient_that_vanishes_says_from_where_on():
    assert "0 from 2 back on" in str(flow([1.0, 0.5, 0.0, 0.0]))
    assert "back on" not in str(flow([1.0, 0.5, 0.25]))
    assert "back on" not in str(flow([0.0, 0.0]))


def test_sums_over_outputs_are_pointed_out():
    assert "steps add up" in str(flow([1.0], many=True))
    assert "steps add up" not in str(flow([1.0]))


def test_as_dicts_for_json():
    found = json.loads(json.dumps(flow([1.0, 0.5]).as_dict()))
    assert (found["layer"], found["steps"], found["sequences"]) == ("RNN(1, 2)", 2, 1)
    one = found["passes"]["l0"]
    assert one["d_states"]["h"]["back"] == [1.0, 0.5]
    assert one["d_states"]["h"]["norm"] == [[1.0], [0.5]]
    assert math.isclose(one["d_states"]["h"]["factor"], 0.5)
    assert one["saturation"]["a"] == {"low": 0, "high": 0, "always": 0}
    assert one["many_outputs"] is False


def test_of_no_steps():
    gru, d = fastrnn.GRU(1, 2, seed=0), np.ones((1, 2, 2), np.float32)
    empty = fastrnn.gradient_flow(gru, np.ones((0, 2, 1), np.float32), d_state=d)
    assert math.isnan(empty["l0"].saturation["r"].low)
    assert "gate r" in str(empty)
    with pytest.raises(KeyError, match=r"'l7': the layer has \['l0'\]"):
        empty["l7"]
