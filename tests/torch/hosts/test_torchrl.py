"""torchrl's modules: one call gives what their "pad" and "scan" backends give."""

import copy
import inspect
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchrl", reason="torchrl is not installed")

import torchrl.modules  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import accelerate, report, restore  # noqa: E402
from fastrnn.torch.hosts import torchrl as ours  # noqa: E402
from tests.support.torch_modules import compare  # noqa: E402
from tests.support.torchrl_modules import KEYS, KINDS, everything, module_of, rows_of  # noqa: E402

every_kind = pytest.mark.parametrize("kind", KINDS)
OPTIONS = {
    "one layer": {},
    "two": {"num_layers": 2},
    "no bias": {"bias": False},
    "projected": {"proj_size": 2},
}
SHARES = {"none": 0.0, "some": 0.2, "many": 0.7, "every step": 1.0}
CASES = [
    (kind, name) for kind in KINDS for name in OPTIONS if kind == "LSTM" or name != "projected"
]
every_share = pytest.mark.parametrize("share", SHARES.values(), ids=SHARES)


@every_share
@pytest.mark.parametrize("shape", [(1,), (14,), (3, 14), (2, 3, 7), (4, 1)], ids=str)
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_one_call_is_pad(kind, options, shape, share, calls):
    pad = module_of(kind, **OPTIONS[options])
    module = accelerate(copy.deepcopy(pad))
    for stored in (True, False):
        rows = rows_of(pad, shape, share, stored=stored)
        expected, all_states = everything(pad, rows)
        calls.clear()
        got, states = everything(module, rows)
        assert len(calls) == 1
        assert all(r.swapped for r in report(module))  # nothing went torchrl's own way
        compare(got, expected)
        assert [s.shape for s in states] == [s.shape for s in all_states]
        if options != "two":
            compare(states[:1], all_states[:1])  # h at the end of every episode


@pytest.mark.filterwarnings("ignore")  # hoptorch compiles a check, and takes a warning for wrong
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("layers", [1, 2])
@every_kind
def test_one_call_is_scan(kind, layers, share):
    pytest.importorskip("hoptorch", reason="torchrl's scan needs hoptorch")
    with torch._dynamo.config.patch(capture_scalar_outputs=False):  # which hoptorch sets for good
        scan = module_of(kind, num_layers=layers, recurrent_backend="scan")
        module = module_of(kind, ours, num_layers=layers)
        rows = rows_of(scan, (3, 9), share)
        compare(everything(module, rows)[0], everything(scan, rows)[0])


@pytest.fixture
def calls(monkeypatch):
    """Which calls of the networks there were."""
    found, forward = [], fastrnn.torch.LSTM.forward

    def counted(self, *arguments, **options):
        found.append(options.get("reset"))
        return forward(self, *arguments, **options)

    for kind in KINDS:
        monkeypatch.setattr(getattr(fastrnn.torch, kind), "forward", counted)
    return found


@every_kind
def test_states_in_the_output(kind):
    """What the docstring says of them: the last one, and an episode's h of a single layer."""
    for layers in (1, 2):
        module = module_of(kind, ours, num_layers=layers)
        rows = rows_of(module, (2, 6), 0.0)
        rows["is_init"][0, 3] = True
        for key in KEYS[kind]:
            rows[key][0, 3] = 0
        rows = module(rows)
        for key in KEYS[kind]:
            state = rows["next", key]
            kept = state.abs().amax((2, 3)).bool().tolist()
            first = layers == 1 and key == "h"
            assert kept == [[False, False, first, False, False, True], [False] * 5 + [True]]


@every_kind
def test_a_stored_state_that_is_not_zero_is_begun_from(kind):
    pad = module_of(kind)
    module = accelerate(copy.deepcopy(pad))
    rows = rows_of(pad, (3, 8), 0.3)
    rows["is_init"][1, 5] = True
    rows[KEYS[kind][-1]][1, 5] = 0.5
    compare(everything(module, rows)[0], everything(pad, rows)[0])
    assert report(module)[0].reason == (
        "last call: a state stored where an episode begins is not zero"
    )
    rows = rows_of(pad, (3, 8), 0.3)
    compare(everything(module, rows)[0], everything(pad, rows)[0])
    assert report(module)[0].swapped


@pytest.mark.parametrize("cut", [True, False])
@every_kind
def test_gradients_of_stored_states(kind, cut):
    gradients = []
    module = module_of(kind)
    for one in (module, accelerate(copy.deepcopy(module))):
        rows = rows_of(module, (3, 8), 0.3 * cut)
        states = [rows[key].requires_grad_() for key in KEYS[kind]]
        one(rows.clone(recurse=False))["y"].sin().sum().backward()
        gradients.append([s.grad for s in states])
    compare(*gradients)
    assert report(one)[0].swapped is not cut


LEFT_ALONE = {"bidirectional": {"bidirectional": True}, "in Python": {"python_based": True}}


@pytest.mark.parametrize("options", LEFT_ALONE.values(), ids=LEFT_ALONE)
@every_kind
def test_what_goes_torchrls_own_way(kind, options):
    theirs = module_of(kind, **options)
    module = accelerate(copy.deepcopy(theirs))
    rows = rows_of(theirs, (3, 9), 0.3)
    for one, other in zip(everything(module, rows), everything(theirs, rows), strict=True):
        compare(one, other)
    record = report(module)[0]
    assert not record.swapped
    assert any(word in record.reason for word in ("bidirectional", "a class of its own"))
    assert accelerate(theirs, dry_run=True)[0].reason == record.reason


def test_around_a_network_that_was_restored_it_is_torchrls():
    module, theirs = module_of("GRU", ours), module_of("GRU")
    restore(module.gru)
    rows = rows_of(module, (3, 9), 0.3)
    compare(everything(module, rows)[0], everything(theirs, rows)[0])
    assert report(module)[0].reason == "last call: its network is not accelerated"


@every_kind
def test_step_by_step_it_is_torchrls(kind):
    theirs = module_of(kind, default_recurrent_mode=False)
    module = accelerate(copy.deepcopy(theirs))
    rows = rows_of(theirs, (4,), 0.5)
    for key in KEYS[kind]:
        rows[key] = rows[key] + 1
    for one in (theirs, module):
        one(step := rows.clone())
        results = [step[key] for key in module.out_keys]
        expected = results if one is theirs else expected  # noqa: F821
    compare([r.detach() for r in results], [r.detach() for r in expected])
    with torchrl.modules.set_recurrent_mode(True):
        rows = rows_of(theirs, (2, 5), 0.5)
        compare(everything(module, rows)[0], everything(theirs, rows)[0])


class OwnModule(torchrl.modules.LSTMModule):
    """A module whose forward accelerate cannot know."""


def test_accelerate_restore_and_report():
    backends = {"a": "pad", "b": "auto", "c": "scan"}
    model = torch.nn.ModuleDict(
        {name: module_of("LSTM", recurrent_backend=b) for name, b in backends.items()}
    )
    model["own"] = OwnModule(3, 5, in_key="x", out_key="y")
    before = {name: dict(vars(module)) for name, module in model.items()}
    plan = accelerate(model, dry_run=True)
    assert [r.swapped for r in plan if "." not in r.name] == [True, True, False, False]
    assert "recurrent_backend is scan" in plan[4].reason
    assert plan[6].reason == f"a class of its own ({__name__}), whose forward may differ"
    assert type(model["a"]) is torchrl.modules.LSTMModule
    assert report(accelerate(accelerate(model))) == plan
    assert type(model["a"]) is ours.LSTMModule
    assert type(model["own"]) is OwnModule
    restore(restore(model))
    assert type(model["a"]) is torchrl.modules.LSTMModule
    assert type(model["a"].lstm) is torch.nn.LSTM
    assert {name: vars(module) for name, module in model.items()} == before


def test_the_constructor_is_torchrls():
    theirs, kind = torchrl.modules.LSTMModule, ours.LSTMModule
    assert inspect.signature(kind) == inspect.signature(theirs)
    lstm = torch.nn.LSTM(3, 5, batch_first=True)
    module = kind(lstm=lstm, in_key="x", out_key="y")
    assert module.lstm is lstm
    assert type(lstm) is fastrnn.torch.LSTM
    assert type(module.make_python_based()) is kind
    with pytest.raises(ValueError, match="recurrent_backend must be one of"):
        kind(3, 5, in_key="x", out_key="y", recurrent_backend="fastrnn")


@every_kind
def test_copies_are_accelerated_and_files_hold_theirs(kind):
    module, theirs = module_of(kind, ours), getattr(torchrl.modules, f"{kind}Module")
    for copied in (
        copy.deepcopy(module),
        copy.copy(module),
        pickle.loads(ForkingPickler.dumps(module)),
    ):
        assert type(copied) is type(module)
        torch.testing.assert_close(copied.state_dict(), module.state_dict())
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    texts = [pickle.dumps(module, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    assert not [text for text in texts if b"fastrnn" in text]
    rows = rows_of(module, (2, 7), 0.3)
    for read in (torch.load(file, weights_only=False), *map(pickle.loads, texts)):
        assert type(read) is theirs
        compare(everything(accelerate(read), rows)[0], everything(module, rows)[0])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@every_kind
def test_under_torch_compile(kind):
    theirs = module_of(kind)
    compiled = torch.compile(accelerate(copy.deepcopy(theirs)), backend="eager")
    for seed in range(2):
        rows = rows_of(theirs, (3, 8), 0.3, seed)
        compare(everything(compiled, rows)[0], everything(theirs, rows)[0])


@every_kind
def test_nothing_crosses_a_start(kind):
    module = module_of(kind, ours, num_layers=2)
    rows = rows_of(module, (2, 6), 0.0)
    rows["is_init"][0, 3] = True
    rows["x"][0, 2] = torch.nan
    for key in KEYS[kind]:
        rows[key][0, 3] = 0
    assert module(rows)["y"].isnan().any(-1).nonzero().tolist() == [[0, 2]]
