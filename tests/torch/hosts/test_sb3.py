"""sb3-contrib's policies: one call of the LSTM gives what their loop over time gives."""

import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")

import cloudpickle  # noqa: E402
import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
from sb3_contrib import RecurrentPPO  # noqa: E402
from sb3_contrib.common.recurrent import policies  # noqa: E402
from sb3_contrib.common.recurrent.type_aliases import RNNStates  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import accelerate, report, restore  # noqa: E402
from fastrnn.torch.hosts import sb3  # noqa: E402
from tests.support.cartpole import DoublePolicy, Positions, train  # noqa: E402
from tests.support.compare import assert_close  # noqa: E402
from tests.support.torch_modules import compare  # noqa: E402

F64 = torch.float64
BOX = gymnasium.spaces.Box(-1, 1, (6,))
IMAGE = gymnasium.spaces.Box(0, 255, (3, 36, 36), np.uint8)
SPACES = {
    policies.RecurrentActorCriticPolicy: BOX,
    policies.RecurrentActorCriticCnnPolicy: IMAGE,
    policies.RecurrentMultiInputActorCriticPolicy: gymnasium.spaces.Dict(a=BOX, b=BOX),
}


def policy_of(kind=policies.RecurrentActorCriticPolicy, **options):
    torch.manual_seed(0)
    space, options = SPACES.get(kind, BOX), {"lstm_hidden_size": 5, **options}
    return kind(space, gymnasium.spaces.Discrete(3), lambda _: 1e-3, **options)


def pair(*arguments, **options):
    policy = policy_of(*arguments, **options).double()
    return policy, accelerate(copy.deepcopy(policy))


STARTS = {"none": 0.0, "some": 0.2, "many": 0.7, "every step": 1.0}


def sequences(policy, time, batch, share):
    """Return what `_process_sequence` takes, drawn."""
    generator = torch.Generator().manual_seed(time * 100 + batch)
    layers, hidden = policy.lstm_actor.num_layers, policy.lstm_actor.hidden_size
    drawn = torch.randn(time * batch, policy.features_dim, dtype=F64, generator=generator)
    states = torch.randn(2, layers, batch, hidden, dtype=F64, generator=generator)
    starts = (torch.rand(time * batch, generator=generator) < share).to(F64)
    return drawn, tuple(states), starts


def all_of_it(policy, features, states, starts):
    """Return output, states and all gradients, from seeded cotangents."""
    features, h, c = (t.clone().requires_grad_() for t in (features, *states))
    policy.zero_grad()
    output, after = policy._process_sequence(features, (h, c), starts, policy.lstm_actor)
    results = [output, *after]
    cotangents = [torch.sin(torch.arange(r.numel(), dtype=F64)).view(r.shape) for r in results]
    torch.autograd.backward(results, cotangents)
    gradients = [t.grad for t in (features, h, c, *policy.lstm_actor.parameters())]
    return [r.detach() for r in results] + gradients


@pytest.mark.parametrize("options", [{}, {"n_lstm_layers": 2}], ids=["one layer", "two"])
@pytest.mark.parametrize("share", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize(("time", "batch"), [(1, 1), (1, 4), (17, 1), (17, 3)])
def test_process_sequence_is_the_loops(time, batch, share, options, monkeypatch):
    policy, ours = pair(**options)
    arguments = sequences(policy, time, batch, share)
    expected = all_of_it(policy, *arguments)
    calls = []
    forward = fastrnn.torch.LSTM.forward
    monkeypatch.setattr(
        fastrnn.torch.LSTM, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k)
    )
    compare(all_of_it(ours, *arguments), expected)
    assert len(calls) == 1
    assert report(ours)[1].swapped  # and by the kernels


CRITICS = {
    "two LSTMs": {},
    "shared": {"shared_lstm": True, "enable_critic_lstm": False},
    "none": {"enable_critic_lstm": False},
    "two extractors": {"share_features_extractor": False},
}


@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS)
@pytest.mark.parametrize("kind", SPACES, ids=lambda kind: kind.__name__)
def test_whole_policies_of_every_kind(kind, critic):
    policy = policy_of(kind, **critic)
    ours = accelerate(copy.deepcopy(policy))
    batch, time = 3, 9
    space, draws = SPACES[kind], batch * time
    space.seed(0)
    observations = [space.sample() for _ in range(draws)]
    if isinstance(space, gymnasium.spaces.Dict):
        observation = {k: torch.from_numpy(np.stack([o[k] for o in observations])) for k in space}
    else:
        observation = torch.from_numpy(np.stack(observations))
    starts = (torch.arange(draws) % 4 == 0).float()
    states = tuple(torch.randn(2, 1, batch, 5))
    results = []
    for one in (policy, ours):
        values, log_prob, entropy = one.evaluate_actions(
            observation, torch.arange(draws) % 3, RNNStates(states, states), starts
        )
        (values.sum() + log_prob.sum() + entropy.sum()).backward()
        gradients = [p.grad for p in one.parameters() if p.grad is not None]
        chosen = one.forward(observation, RNNStates(states, states), starts, deterministic=True)
        results.append((values, log_prob, entropy, gradients, chosen))
        results[-1] += (one.predict_values(observation, states, starts),)
    torch.testing.assert_close(results[1], results[0], rtol=2e-5, atol=2e-5)
    assert [r.swapped for r in report(ours)] == [True] * len(report(ours))


def test_nothing_crosses_a_start():
    _, ours = pair()
    features, (h, c), _ = sequences(ours, 6, 2, 0.0)
    features = features.view(2, 6, -1)  # rows, steps
    features[0, 2] = torch.nan
    h[:, 1] = torch.inf
    starts = torch.zeros(2, 6)
    starts[0, 3] = starts[1, 0] = 1
    output, _ = ours._process_sequence(features.flatten(0, 1), (h, c), starts, ours.lstm_actor)
    assert output.view(2, 6, -1).isnan().any(-1).nonzero().tolist() == [[0, 2]]


def test_under_torch_compile_it_is_one_graph():
    policy, ours = pair()
    compiled = torch.compile(ours._process_sequence, backend="eager", fullgraph=True)
    for share in (0.0, 0.3):
        features, states, starts = sequences(policy, 7, 3, share)
        got, after = compiled(features, states, starts, ours.lstm_actor)
        expected = policy._process_sequence(features, states, starts, policy.lstm_actor)
        compare(
            [t.detach() for t in (got, *after)], [t.detach() for t in (expected[0], *expected[1])]
        )


class Loop(policies.RecurrentActorCriticPolicy):
    """A policy with a way of its own through a sequence."""

    @staticmethod
    def _process_sequence(features, lstm_states, episode_starts, lstm):
        return features[:, :1].expand(-1, lstm.hidden_size), lstm_states


class Deeper(policies.RecurrentActorCriticPolicy):
    """A policy that changes something else."""


def test_accelerate_restore_and_report():
    policy = policy_of()
    names, loop = list(policy.state_dict()), policy._process_sequence
    plan = accelerate(policy, dry_run=True)
    assert [r.name for r in plan] == ["", "lstm_actor", "lstm_critic"]
    assert [r.swapped for r in plan] == [True] * 3
    assert policy._process_sequence is loop
    assert [r.swapped for r in report(policy)] == [False] * 3
    assert accelerate(accelerate(policy)) is policy
    assert report(policy) == plan
    assert list(policy.state_dict()) == names
    assert policies.RecurrentActorCriticPolicy._process_sequence is loop
    restore(restore(policy))
    assert policy._process_sequence is loop
    assert "_process_sequence" not in vars(policy)
    assert type(policy.lstm_actor) is torch.nn.LSTM
    model = torch.nn.ModuleDict({"a": policy, "b": policy_of(Deeper)})
    assert [r.name for r in report(accelerate(model)) if r.swapped][::3] == ["a", "b"]


def test_a_policy_with_a_way_of_its_own_keeps_it():
    policy = accelerate(policy_of(Loop))
    assert type(policy.lstm_actor) is fastrnn.torch.LSTM
    record = report(policy)[0]
    assert not record.swapped
    assert record.reason == f"a _process_sequence of its own ({__name__}), which may differ"
    assert policy._process_sequence is Loop._process_sequence
    restore(policy)
    assert policy._process_sequence is Loop._process_sequence
    patched = policy_of()
    patched._process_sequence = Loop._process_sequence
    assert not report(accelerate(patched))[0].swapped
    assert restore(patched)._process_sequence is Loop._process_sequence


class Own(torch.nn.LSTM):
    """An LSTM that accelerate leaves alone."""


@pytest.mark.parametrize("how", ["a class of its own", "restored"])
def test_an_lstm_that_is_not_ours_runs_as_theirs(how):
    policy, ours = pair()
    if how == "restored":
        restore(ours.lstm_actor)
    else:
        policy.lstm_actor.__class__ = ours.lstm_actor.__class__ = Own
    arguments = sequences(policy, 9, 2, 0.3)
    results = [all_of_it(one, *arguments) for one in (ours, policy)]
    assert all(map(torch.equal, *results))


def test_of_another_dtype_it_runs_torchs_own_way():
    policy = policy_of().bfloat16()
    ours = accelerate(copy.deepcopy(policy))
    features, states, starts = sequences(policy, 9, 2, 0.3)
    features, starts = features.bfloat16(), starts.bfloat16()
    states = tuple(s.bfloat16() for s in states)
    results = [p._process_sequence(features, states, starts, p.lstm_actor) for p in (policy, ours)]
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0.02)
    assert report(ours)[1].reason == "weight_ih_l0 is bfloat16"
    compare(*[all_of_it(p.double(), *sequences(p, 9, 2, 0.3)) for p in (ours, policy)])
    assert report(ours)[1].swapped


def test_copies_are_accelerated_and_files_hold_theirs():
    policy = accelerate(policy_of())
    copied = copy.deepcopy(policy)
    assert sb3.is_accelerated(copied)
    assert copied.lstm_actor is not policy.lstm_actor
    assert sb3.is_accelerated(copy.copy(policy))
    sent = pickle.loads(ForkingPickler.dumps(sb3.process_sequence))
    assert sent is sb3.process_sequence
    file = io.BytesIO()
    policy.optimizer, policy.lr_schedule = None, None
    torch.save(policy, file)
    file.seek(0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert b"fastrnn" not in pickle.dumps(policy, protocol)
    texts = [pickle.dumps(policy), cloudpickle.dumps(policy)]
    for read in (torch.load(file, weights_only=False), *map(pickle.loads, texts)):
        assert not [r.swapped for r in report(read) if r.swapped]
        assert read._process_sequence is policies.RecurrentActorCriticPolicy._process_sequence
        assert sb3.is_accelerated(accelerate(read))
        restore(read)
        assert not sb3.is_accelerated(read)


def test_a_saved_model_is_read_and_accelerated_again(tmp_path):
    model = RecurrentPPO("MlpLstmPolicy", Positions(), n_steps=8, batch_size=8, device="cpu")
    accelerate(model.policy)
    model.learn(16)
    model.save(tmp_path / "model")
    read = RecurrentPPO.load(tmp_path / "model", device="cpu")
    assert not sb3.is_accelerated(read.policy)
    assert all(r.swapped for r in report(accelerate(read.policy)))
    observation, _ = Positions().reset(seed=0)
    (action, state), (other_action, other) = (m.predict(observation) for m in (model, read))
    assert action == other_action
    np.testing.assert_array_equal(state, other)
    read.set_env(Positions())
    read.learn(16)


# In longer runs a rounding is some time large enough for another action to be drawn.
PRECISIONS = {"float32": ("MlpLstmPolicy", 1e-5), "float64": (DoublePolicy, 1e-12)}


@pytest.mark.parametrize(("policy", "tolerance"), PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.usefixtures("one_thread")
def test_training_is_the_same(policy, tolerance):
    """2,000 steps of RecurrentPPO on CartPole without velocities, from the same seed."""
    expected, got = (train(2000, policy, accelerated) for accelerated in (False, True))
    assert len(expected.losses) == 3  # all but the last update's
    assert got.rewards == expected.rewards
    np.testing.assert_allclose(got.losses, expected.losses, rtol=0, atol=tolerance)
    for one, other in zip(got.parameters, expected.parameters, strict=True):
        assert_close(one.numpy(), other.numpy(), atol=tolerance)
