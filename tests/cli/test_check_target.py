"""The targets of `fastrnn gradcheck`: layers from options, a user's own, and what is refused."""

import itertools

import numpy as np
import pytest

from fastrnn.cells import CELLS
from fastrnn.cli import check_target
from tests.support.commands import run

pytestmark = pytest.mark.usefixtures("folder")


class TestLayers:
    def test_every_cell_has_a_name(self):
        assert {cell.name for cell in CELLS} | {"rnn"} == {*check_target.LAYERS}

    def test_options_reach_the_check(self, checks):
        options = {
            "--input": 3,
            "--hidden": 6,
            "--seq": 5,
            "--batch": 2,
            "--layers": 2,
            "--proj": 4,
            "--dropout": 0.5,
            "--dtype": "float32",
            "--method": "central",
            "--mode": "sample",
            "--samples": 7,
            "--projections": 8,
            "--seed": 9,
        }
        flags = ["--bidirectional", "--lengths", "--second-order"]
        assert run("gradcheck", "LSTM", *flags, *itertools.chain(*options.items())) == 0
        [(name, layer, (x, (h_0, c_0), lengths), given)] = checks
        assert name == "LSTM"
        assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 6, 2)
        assert (layer.proj_size, layer.dropout, layer.bidirectional) == (4, 0.5, True)
        assert (x.shape, h_0.shape, c_0.shape) == ((5, 2, 3), (4, 2, 4), (4, 2, 6))
        assert {a.dtype for a in (x, h_0, c_0, *layer.params.values())} == {np.dtype(np.float32)}
        assert h_0.all()
        assert lengths[0] == 5
        assert lengths.shape == (2,)
        assert given.pop("progress")
        assert given == {
            "method": "central",
            "mode": "sample",
            "n_samples": 7,
            "seed": 9,
            "n_projections": 8,
            "second_order": True,
        }

    def test_defaults(self, checks):
        assert run("gradcheck", "gru") == 0
        [(_, layer, (x, h_0, lengths), given)] = checks
        assert (x.shape, x.dtype, h_0.shape, lengths) == ((7, 3, 4), np.float64, (1, 3, 5), None)
        assert (layer.num_layers, layer.bidirectional) == (1, False)
        assert (given["method"], given["mode"], given["seed"]) == ("auto", "full", 0)

    def test_one_hot(self, checks):
        assert run("gradcheck", "rnn_relu", "--one-hot") == 0
        [(_, layer, (x, _, _), _)] = checks
        assert (x.shape, x.dtype.kind, layer.nonlinearity) == ((7, 3), "i", "relu")
        assert 0 <= x.min() <= x.max() < 4

    def test_seed(self, checks):
        for seed in (1, 1, 2):
            run("gradcheck", "rnn", "--seed", seed)
        weights = [layer.params["weight_ih_l0"] for _, layer, _, _ in checks]
        inputs = [x for _, _, (x, _, _), _ in checks]
        for one, same, other in (weights, inputs):
            assert np.array_equal(one, same)
            assert not np.array_equal(one, other)


class TestErrors:
    """One line on stderr, and status 2."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "what? One of rnn, "),
            (["dance"], "the target is 'dance'; expected one of rnn, "),
            (["lstm", "--hidden", "0"], "--hidden must be a whole number of at least 1; got 0"),
            (["lstm", "--samples", "0"], "--samples must be a whole number of at least 1; got 0"),
            (["lstm", "--seed", "-1"], "--seed must be a whole number of at least 0; got -1"),
            (["lstm", "--dtype", "int8"], "--dtype must be one of float32, float64; got 'int8'"),
            (["lstm", "--proj", "5"], "proj_size has to be smaller than hidden_size = 5"),
            (["gru", "--proj", "2"], "--proj: gru has no projection"),
            (["rnn_relu", "--proj", "2"], "--proj: rnn_relu has no projection"),
            (["lstm", "--dropout", "0.5"], "give --layers of at least 2"),
            (["lstm", "--dropout", "5", "--layers", "2"], "dropout should be a number in [0, 1]"),
            (["lstm", "--method", "best"], "method is 'best'; expected one of auto, "),
            (["lstm", "--mode", "fast"], "mode is 'fast'; expected one of full, "),
            (["lstm", "--hidden", "1000000"], "GB of memory"),
            (["lstm", "--json", "{tmp}/no/f.json"], "No such file or directory"),
            (["lstm", "--json", "{tmp}"], "Is a directory"),
            (["lstm", "--plot", "{tmp}/f.foo"], "expected a name that ends in .png, "),
            (["lstm", "--self-test"], "--self-test goes alone"),
            (["--self-test", "--json", "f"], "--self-test goes alone"),
            (["{m}:right", "--hidden", "4"], "{m}:right has inputs of its own: leave it out"),
            (["{m}:right", "--one-hot"], "--one-hot is for rnn, "),
            (["{m}:"], "expected module:function"),
            (["./{m}:right"], "expected module:function"),
            (["{m}.py:right"], "expected module:function"),
            (["nowhere_at_all:f"], "there is no module nowhere_at_all, neither in this folder"),
            (["{m}:wright"], "{m} has no wright; did you mean right?"),
            (["{m}:bare"], "{m}:bare has no inputs; write in {m}: bare_inputs = (x, ...)"),
            (["{m}:number"], "{m}:number has no inputs"),
            (["{m}:of_a_list"], "inputs is a str; expected a tuple of arrays"),
            (["{m}:not_a_pair"], "not_a_pair returned a ndarray; expected (output, pullback)"),
            (["{m}:raises"], "{m}:raises: KeyError: 'why' ({m}.py, line 41)"),
            (["{m}:leaves"], "{m}:leaves: SystemExit: 0 ({m}.py, line 48)"),
            (["{m}:two_lines"], "{m}:two_lines: RuntimeError: one ({m}.py, line 56)"),
            (["{m}:no_inputs_come"], "the inputs of {m}:no_inputs_come: ZeroDivisionError ({m}.py"),
            (["broken_syntax:f"], "importing broken_syntax: SyntaxError: "),
            (["broken_import:f"], "No module named 'nowhere_at_all' (broken_import.py, line 2)"),
            (["broken_exit:f"], "importing broken_exit: SystemExit: 3 (broken_exit.py, line 1)"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_one_line_and_status_2(self, arguments, message, module, folder, capsys):
        (folder / "broken_syntax.py").write_text("def f(x:\n")
        (folder / "broken_import.py").write_text("import os\nimport nowhere_at_all\n")
        (folder / "broken_exit.py").write_text("raise SystemExit(3)\n")
        before = sorted(folder.rglob("*.*[!c]"))
        places = {"tmp": folder, "m": module}
        assert run("gradcheck", *(argument.format(**places) for argument in arguments)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("fastrnn: ")
        assert message.format(**places) in err
        assert err.count("\n") == 1
        assert sorted(folder.rglob("*.*[!c]")) == before


class _Mute(Exception):
    def __str__(self):
        raise RuntimeError("it cannot say what it is")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (GeneratorExit(), "it: GeneratorExit"),  # no Exception
        (_Mute(), "it: _Mute"),
        (RecursionError("deep\nin it"), "it: RecursionError: deep"),
    ],
    ids=["no Exception", "mute", "lines"],
)
def test_whatever_the_users_code_raises_is_one_line(error, line):
    with pytest.raises(ValueError, match=f"^{line} ") as caught, check_target.users_code("it"):
        raise error
    assert "\n" not in str(caught.value)


def test_ctrl_c_is_no_error_of_theirs():
    with pytest.raises(KeyboardInterrupt), check_target.users_code("it"):
        raise KeyboardInterrupt
