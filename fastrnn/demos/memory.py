"""A policy that has to remember: which way to turn at the end of a corridor.

Task: the T-maze. The first step of an episode shows a cue, left or right. Then comes a corridor of
5 to 20 steps in which every place looks the same; at its end the agent has to turn as the cue said.
Actions: left, forward, right. Rewards: 1 for the correct turn, -1 for the other, -0.1 for standing
still. A turn ends the episode, and the next one begins in the same row.
Data: 32 mazes side by side, in rollouts (T, B) = (64, 32) with beginnings of episodes anywhere.
Network: GRU(4 observations -> 32), a Linear to the three actions and the value of the state.
Advantage actor-critic with Adam, gradients clipped to 1. `reset=` says where episodes begin; the
state is carried from rollout to rollout, its gradient is not (truncated BPTT).
Baselines: the same network with a reset at every step, which sees nothing but the present; and 1/2,
the best that it can reach.
Source: Bakker 2001, "Reinforcement learning with long short-term memory", which has one length at a
time and other rewards; for the learning Mnih et al. 2016 (arXiv 1602.01783).
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastrnn import plotting
from fastrnn.demos.result import Measure, ProgressReport, Result, silent
from fastrnn.nn.layers import GRU
from fastrnn.nn.linear import Linear
from fastrnn.optim import Adam, clip_grad_norm

STEPS, BATCH, HIDDEN, LR, CLIP = 64, 32, 32, 2e-2, 1.0
DISCOUNT, ENTROPY = 0.95, 0.01  # of later rewards; the weight of the policy's entropy
LENGTHS, LONG = (5, 20), 200  # of corridors: the shortest and the longest; only when tested
LEFT, FORWARD, RIGHT = range(ACTIONS := 3)
CUE_LEFT, CUE_RIGHT, CORRIDOR, JUNCTION = range(OBSERVATIONS := 4)
CHANCE, LEARNT = 0.5, 0.95  # shares of correct turns; LEARNT: from which on a start has learned
COLOURS = {"with memory": plotting.BLUE, "without": plotting.ORANGE}


class Mazes:
    """T-mazes side by side, each of which begins anew, with another cue, when its agent turned.

    Args:
        count: B, their number.
        lengths: of the shortest and of the longest corridor.
        random: draws lengths and cues.

    Attributes:
        begins: (B,) bool, True where an episode is at its first step.
    """

    def __init__(self, count: int, lengths: tuple[int, int], random: np.random.Generator):
        self._lengths, self._random = lengths, random
        self._cue, self._length, self._place = np.zeros((3, count), np.int64)
        self._begin(np.ones(count, np.bool_))

    def observe(self) -> np.ndarray:
        """Return what the agents see, (B,)."""
        ahead = np.where(self._place < self._length, CORRIDOR, JUNCTION)
        return np.where(self._place == 0, self._cue, ahead)

    def act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take a step in each maze.

        Args:
            actions: (B,).

        Returns:
            The rewards, (B,) float32, and where an episode ended, (B,) bool.
        """
        turns, at_end = actions != FORWARD, self._place == self._length
        ended, walks = turns & at_end, ~turns & ~at_end
        correct = actions == np.where(self._cue == CUE_LEFT, LEFT, RIGHT)
        rewards = np.where(ended, np.where(correct, 1, -1), np.where(walks, 0, -0.1))
        self._place += walks
        self._begin(ended)
        return rewards.astype(np.float32), ended

    def _begin(self, which: np.ndarray) -> None:
        self.begins = which
        self._cue[which] = self._random.integers(CUE_LEFT, CUE_RIGHT + 1, which.sum())
        self._length[which] = self._random.integers(*self._lengths, which.sum(), endpoint=True)
        self._place[which] = 0


class Rollout(NamedTuple):
    """Some steps of all mazes; each array is (T, B) unless it says otherwise.

    Attributes:
        observed: what the agents saw.
        resets: where the state was zero before the step.
        h: (T, B, H) the outputs of the GRU.
        actions: what they did.
        rewards: what they got for it.
        ended: where that was an episode's last step.
        state: (1, B, H) the state before the first step.
        value: (B,) the value of the state after the last one.
    """

    observed: np.ndarray
    resets: np.ndarray
    h: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    ended: np.ndarray
    state: np.ndarray
    value: np.ndarray


class Agent:
    """A policy and its critic on one GRU.

    Args:
        forgets: reset the state at every step, not only where an episode begins.
        seed: of the parameters.
        random: draws the actions.
    """

    def __init__(self, forgets: bool, seed: int, random: np.random.Generator):
        self.gru = GRU(OBSERVATIONS, HIDDEN, seed=seed)
        self._head = Linear(HIDDEN, ACTIONS + 1, seed=seed)
        self._optimizer = Adam([self.gru.params, self._head.params], lr=LR)
        self._forgets, self._random = forgets, random

    def play(self, mazes: Mazes, state: np.ndarray) -> tuple[Rollout, np.ndarray]:
        """Act for a rollout; return it, and the state after it.

        A stream keeps the weights that it began with, but here they change while the state lives
        on: so each step is a call with the state of the step before.

        Args:
            mazes: to act in.
            state: (1, B, H), of the GRU.
        """
        steps, before = [], state
        for _ in range(STEPS):
            observed, resets = mazes.observe(), mazes.begins | self._forgets
            h, state = self.gru(observed[None], state, reset=resets[None])
            actions = self._choose(h[0])
            steps.append((observed, resets, h[0], actions, *mazes.act(actions)))
        h, _ = self.gru(mazes.observe()[None], state, reset=(mazes.begins | self._forgets)[None])
        kept = (np.array(one) for one in zip(*steps, strict=True))
        return Rollout(*kept, state=before, value=self._head(h[0])[:, ACTIONS]), state

    def learn(self, rollout: Rollout) -> None:
        """Take one step up the policy gradient.

        Args:
            rollout: what was just played.
        """
        (h, _), pull = self.gru.vjp(rollout.observed, rollout.state, reset=rollout.resets)
        found, pull_head = self._head.vjp(h)
        logits, error = found[..., :ACTIONS], found[..., ACTIONS:] - returns(rollout)[..., None]
        logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        odds = np.exp(logs)
        entropy = -(odds * logs).sum(axis=-1, keepdims=True)
        taken = np.eye(ACTIONS, dtype=np.float32)[rollout.actions]
        d_logits = error * (taken - odds) + ENTROPY * odds * (logs + entropy)
        head = pull_head(np.concatenate([d_logits, error / 2], axis=-1) / error.size)
        grads = [pull(head.input).params, head.params]
        clip_grad_norm(grads, CLIP)
        self._optimizer.step(grads)

    def test(self, mazes: Mazes, steps: int) -> tuple[float, float]:
        """Act in new mazes, without learning, by a stream.

        Args:
            mazes: to act in.
            steps: steps in each of them.

        Returns:
            The share of correct turns, and the mean number of steps of an episode.
        """
        stream, correct, episodes = self.gru.stream(len(mazes.begins)), 0, 0
        for _ in range(steps):
            h = stream(mazes.observe(), reset=mazes.begins | self._forgets)
            rewards, ended = mazes.act(self._choose(h))
            correct += np.sum(rewards == 1)
            episodes += np.sum(ended)
        return float(correct / episodes), float(len(mazes.begins) * steps / episodes)

    def _choose(self, h: np.ndarray) -> np.ndarray:
        """Draw an action for each row of h from the policy's softmax, by Gumbel's trick."""
        logits = self._head(h)[:, :ACTIONS]
        return np.argmax(logits + self._random.gumbel(size=logits.shape), axis=-1)


def returns(rollout: Rollout) -> np.ndarray:
    """Return the discounted rewards from each step to the end of its episode, (T, B).

    Where the rollout ends before, the critic's value stands for the rest.

    Args:
        rollout: of any length.
    """
    found, after = np.zeros_like(rollout.rewards), rollout.value
    for t in reversed(range(len(found))):
        found[t] = after = rollout.rewards[t] + DISCOUNT * after * ~rollout.ended[t]
    return found


class Course(NamedTuple):
    """How one agent fared.

    Attributes:
        turns: (updates, 2) the correct turns of each rollout, and all its turns.
        rollout: one more, from which it did not learn.
        correct: share of correct turns afterwards, in new mazes of the same lengths.
        steps: mean steps of an episode there.
        correct_long: share of correct turns in corridors of LONG steps.
    """

    turns: np.ndarray
    rollout: Rollout
    correct: float
    steps: float
    correct_long: float


def _follow(forgets: bool, updates: int, lengths: tuple[int, int], seed: int) -> Course:
    """Let one agent learn from a number of rollouts, each once, and test it."""
    random = np.random.default_rng(seed)
    agent, mazes = Agent(forgets, seed, random), Mazes(BATCH, lengths, random)
    state, turns = np.zeros((1, BATCH, HIDDEN), np.float32), []
    for _ in range(updates):
        rollout, state = agent.play(mazes, state)
        agent.learn(rollout)
        turns.append((np.sum(rollout.rewards == 1), np.sum(rollout.ended)))
    rollout, _ = agent.play(mazes, state)
    correct, steps = agent.test(Mazes(100, lengths, random), 1000)
    correct_long, _ = agent.test(Mazes(100, (LONG, LONG), random), 5 * (LONG + 1))
    return Course(np.array(turns), rollout, correct, steps, correct_long)


def run(quick: bool = False, seed: int = 0, progress: ProgressReport = silent) -> Result:
    """Let agents with and without memory learn in the same kind of mazes, from several starts.

    Args:
        quick: one start, fewer updates, shorter corridors.
        seed: seed of the first start; the others have the numbers that follow.
        progress: called after each run.
    """
    starts, updates, lengths = (1, 110, (5, 12)) if quick else (5, 160, LENGTHS)
    found: dict[str, list[Course]] = {method: [] for method in COLOURS}
    for start in range(starts):
        for method in COLOURS:
            found[method].append(_follow(method == "without", updates, lengths, seed + start))
            done = sum(map(len, found.values()))
            progress(f"start {start + 1}, {method}", done, starts * len(COLOURS))

    def mean(figure: str) -> dict[str, float]:
        return {m: float(np.mean([getattr(c, figure) for c in cs])) for m, cs in found.items()}

    learnt = {m: sum(c.correct > LEARNT for c in cs) / starts for m, cs in found.items()}
    chance, least = {"chance": CHANCE}, {"at least": sum(lengths) / 2 + 1}
    measures = [
        Measure("starts that learn", learnt, ".0%"),
        Measure("correct turns", mean("correct") | chance),
        Measure(f"in corridors of {LONG} steps", mean("correct_long") | chance),
        Measure("steps of an episode", mean("steps") | least, ".1f", higher=False),
    ]
    last = found["with memory"][0].rollout
    text = (
        f"Each of {starts} starts learns from {updates} rollouts, {STEPS} steps of {BATCH} mazes.\n"
        f"In one more {last.ended.sum()} episodes end, and {last.resets.sum()} resets cut it."
    )
    title = "Turn as a cue said {} to {} steps ago: a policy, learned from rewards".format(*lengths)
    return Result(title, measures, partial(_draw, found=found), text)


def _draw(figure: Any, found: dict[str, list[Course]]) -> None:
    """The share of correct turns of every start, and what one unit holds during a rollout."""
    figure.set_size_inches(10.5, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    for method, runs in found.items():
        for one in runs:
            correct, turns = one.turns.reshape(-1, 10, 2).sum(axis=1).T
            read = 10 * np.arange(1, len(turns) + 1) * STEPS * BATCH / 1000
            label = method if one is runs[0] else None
            left.plot(read, correct / turns, color=COLOURS[method], alpha=0.8, label=label)
    left.axhline(CHANCE, color="black", linewidth=0.8, linestyle=":")
    left.set(xlabel="steps in all mazes, in thousands", ylabel="correct turns", ylim=(0.35, 1.03))
    left.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    left.set_title("Episodes that end well; a line for each start, of 10 rollouts")
    left.legend(loc="center right")
    _unit(right, found["with memory"][0].rollout)


def _unit(axes: Any, rollout: Rollout) -> None:
    """The unit of h that differs most between left and right turns, in all mazes."""
    h, side = rollout.h[rollout.ended], rollout.actions[rollout.ended] - FORWARD  # -1 left, 1 right
    along = side @ (h - h.mean(axis=0))
    unit = np.argmax(np.abs(along))
    shown = rollout.h[..., unit] * np.sign(along[unit])
    image = axes.imshow(shown.T, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    steps, mazes = np.nonzero(rollout.resets)
    axes.vlines(steps - 0.5, mazes - 0.5, mazes + 0.5, color="black", linewidth=1.5)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="step of a rollout, after learning", ylabel="maze")
    axes.set_title(f"One unit of h holds the cue until a reset (black, {len(steps)} of them)")
    bar = axes.figure.colorbar(image, ax=axes, ticks=[-1, 0, 1], label="h; above 0: turn right")
    bar.outline.set_visible(False)
