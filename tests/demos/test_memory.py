"""fastrnn/demos/memory.py in its short form: memory decides, and episodes stay apart."""

import numpy as np
import pytest

from fastrnn.demos import memory
from tests.support.demonstrated import short_form


def play(forgets=False, seed=0, rollouts=1):
    """The last of some rollouts of an agent that learns from all before it, and the agent."""
    random = np.random.default_rng(seed)
    agent = memory.Agent(forgets, seed, random)
    mazes = memory.Mazes(memory.BATCH, (5, 8), random)
    state = np.zeros((1, memory.BATCH, memory.HIDDEN), np.float32)
    rollout, state = agent.play(mazes, state)
    for _ in range(rollouts - 1):
        agent.learn(rollout)
        rollout, state = agent.play(mazes, state)
    return rollout, agent


def test_a_maze():
    """Whoever walks on and turns as the cue said gets 1; every other thing costs."""
    mazes = memory.Mazes(3, (4, 4), np.random.default_rng(1))
    cue = mazes.observe()
    assert mazes.begins.all()
    assert set(cue) == {memory.CUE_LEFT, memory.CUE_RIGHT}
    for _ in range(4):
        rewards, ended = mazes.act(np.array([memory.FORWARD, memory.LEFT, memory.FORWARD]))
        assert np.allclose(rewards, [0, -0.1, 0])
        assert not ended.any()
        assert not mazes.begins.any()
    seen = [memory.JUNCTION, cue[1], memory.JUNCTION]
    assert np.array_equal(mazes.observe(), seen)
    rewards, ended = mazes.act(np.full(3, memory.FORWARD))
    assert np.allclose(rewards, [-0.1, 0, -0.1])
    assert not ended.any()
    assert mazes.observe()[1] == memory.CORRIDOR
    correct = np.where(cue == memory.CUE_LEFT, memory.LEFT, memory.RIGHT)
    wrong = memory.LEFT + memory.RIGHT - correct
    rewards, ended = mazes.act(np.array([correct[0], memory.FORWARD, wrong[2]]))
    assert np.array_equal(rewards, [1, 0, -1])
    assert np.array_equal(ended, [True, False, True])
    assert np.array_equal(mazes.begins, ended)
    assert set(mazes.observe()[ended]) <= {memory.CUE_LEFT, memory.CUE_RIGHT}


def test_returns_end_with_their_episode():
    rollout, _ = play()
    rollout = rollout._replace(
        rewards=np.array([[1, 0], [2, 0], [4, 0]], np.float32),
        ended=np.array([[False, False], [True, False], [False, False]]),
        value=np.array([10, 20], np.float32),
    )
    g = memory.DISCOUNT
    expected = [[1 + 2 * g, 20 * g**3], [2, 20 * g**2], [4 + 10 * g, 20 * g]]
    assert np.allclose(memory.returns(rollout), expected)


@pytest.mark.parametrize("forgets", [False, True])
def test_acting_and_learning_have_the_same_outputs(forgets):
    """Step by step from the state before, by a stream, and all at once."""
    rollout, agent = play(forgets, rollouts=3)
    cuts = rollout.resets[1:].any(axis=1)
    assert cuts.any()
    (h, _), _ = agent.gru.vjp(rollout.observed, rollout.state, reset=rollout.resets)
    assert np.abs(h - rollout.h).max() < 1e-5
    stream = agent.gru.stream(memory.BATCH)
    streamed = [stream(x, reset=cut).copy() for x, cut in zip(*rollout[:2], strict=True)]
    begun = np.logical_or.accumulate(rollout.resets)  # no step of it knows the state before
    assert begun.mean() > 0.5
    assert np.abs(h - streamed)[begun].max() < 1e-5


def test_no_gradient_crosses_the_episodes_of_a_rollout():
    rollout, agent = play(rollouts=2)
    x = np.eye(memory.OBSERVATIONS, dtype=np.float32)[rollout.observed]
    (h, _), pull = agent.gru.vjp(x, rollout.state, reset=rollout.resets)
    assert np.array_equal(rollout.resets[1:], rollout.ended[:-1])
    episode = rollout.resets.cumsum(axis=0)
    assert episode.max() >= 4
    for number in range(episode.max() + 1):
        chosen = (episode == number)[..., None]
        grads = pull(np.where(chosen, np.ones_like(h), 0))
        reached = (grads.input != 0).any(axis=-1)
        assert np.array_equal(reached, chosen[..., 0])
        assert np.any(grads.state) == (number == 0)


def test_learning_heeds_the_resets():
    """All episodes begin with the first rollout: whatever its state was has no part in it."""
    learnt = []
    for state in (0, 1, np.nan):
        rollout, agent = play()
        assert rollout.resets[0].all()
        agent.learn(rollout._replace(state=np.full_like(rollout.state, state)))
        learnt.append(agent.gru.state_dict())
    for name, value in learnt[0].items():
        assert all(np.array_equal(value, other[name]) for other in learnt[1:])


def test_a_seed_makes_the_same_training():
    one, same, other = (play(seed=seed, rollouts=4)[0] for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.actions, other.actions)


def test_the_short_form():
    told = []
    result = short_form(memory, told)
    learnt, correct, long, steps = (measure.values for measure in result.measures)
    assert learnt == {"with memory": 1, "without": 0}
    assert correct["with memory"] > 0.98
    assert long["with memory"] > 0.9
    assert abs(correct["without"] - 0.5) < 0.05
    assert abs(long["without"] - 0.5) < 0.15
    for method in memory.COLOURS:  # both learn what needs no memory
        assert steps["at least"] < steps[method] * 1.02 < steps["at least"] * 1.1
    assert len(told) == 2
    assert f"{memory.STEPS} steps of {memory.BATCH} mazes" in result.text
