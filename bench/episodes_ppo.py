"""A recurrent policy learns to balance a pole whose velocities it does not see: PPO in one file.

    python -m bench.episodes_ppo

An example to copy from, neither a measurement nor a library. What is particular to a recurrent
policy: rollout and update call the same LSTM with `reset=starts`, which cuts its sequence where an
episode begins. So the update has no loop over time and no padding, and no gradient goes from one
episode into another.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import fastrnn.torch


class Poles:
    """B carts, each with a pole to balance (Barto, Sutton and Anderson 1983), in NumPy.

    Seen are the cart's position and the pole's angle; the velocities are to be remembered.
    """

    GRAVITY, CART, POLE, LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
    LIMITS = np.array([2.4, np.deg2rad(12)])
    STEPS = 500

    def __init__(self, batch: int, rng: np.random.Generator):
        self._rng = rng
        self._state = rng.uniform(-0.05, 0.05, (4, batch))  # position, angle; their velocities
        self._age = np.zeros(batch, int)

    def seen(self) -> torch.Tensor:
        """Return what the policy sees, (B, 2), in units of the limits."""
        return torch.from_numpy((self._state[:2].T / self.LIMITS).astype(np.float32))

    def step(self, push_right: np.ndarray) -> np.ndarray:
        """Push each cart, (B,) bool, and return where an episode ended, (B,) bool; +1 for all."""
        _, angle, speed, turn = self._state
        mass, moment = self.CART + self.POLE, self.POLE * self.LENGTH
        force = np.where(push_right, self.FORCE, -self.FORCE)
        pushed = (force + moment * turn**2 * np.sin(angle)) / mass
        inertia = self.LENGTH * (4 / 3 - self.POLE * np.cos(angle) ** 2 / mass)
        turned = (self.GRAVITY * np.sin(angle) - np.cos(angle) * pushed) / inertia
        moved = pushed - moment * turned * np.cos(angle) / mass
        self._state += self.SECONDS * np.stack([speed, turn, moved, turned])
        self._age += 1
        out = (np.abs(self._state[:2]) > self.LIMITS[:, None]).any(0)
        ended = out | (self._age == self.STEPS)
        self._state[:, ended] = self._rng.uniform(-0.05, 0.05, (4, ended.sum()))
        self._age[ended] = 0
        return ended


class Policy(nn.Module):
    """An LSTM, and on it the actions' logits and the value of a state."""

    def __init__(self, hidden: int):
        super().__init__()
        self.lstm = fastrnn.torch.LSTM(2, hidden)
        self.actor, self.critic = nn.Linear(hidden, 2), nn.Linear(hidden, 1)

    def forward(self, seen, state, starts):
        """Return the distribution of actions, the values (T, B) and the state after."""
        features, state = self.lstm(seen, state, reset=starts)
        actions = torch.distributions.Categorical(logits=self.actor(features))
        return actions, self.critic(features).squeeze(-1), state


class Rollout(NamedTuple):
    """What T steps of B poles leave, (T, B) each but `seen`, (T, B, 2)."""

    seen: torch.Tensor
    starts: torch.Tensor  # bool: an episode begins here
    action: torch.Tensor
    log_prob: torch.Tensor
    value: torch.Tensor


def collect(policy: Policy, poles: Poles, state, start: torch.Tensor, time_steps: int):
    """Return a Rollout, and the state and the starts (B,) after it."""
    rows = []
    for _ in range(time_steps):
        seen = poles.seen()
        with torch.no_grad():
            actions, value, state = policy(seen[None], state, start[None])
        action = actions.sample()
        rows.append((seen, start, action[0], actions.log_prob(action)[0], value[0]))
        start = torch.from_numpy(poles.step(action[0].numpy() == 1))
    return Rollout(*map(torch.stack, zip(*rows, strict=True))), state, start


def advantages_of(values: torch.Tensor, goes_on: torch.Tensor, gamma=0.99, decay=0.95):
    """Return generalised advantage estimates (T, B), of values (T + 1, B).

    The reward of each step is 1 - gamma, so that values are between 0 and 1.
    """
    advantages, after = torch.empty_like(goes_on), torch.zeros_like(goes_on[0])
    for t in reversed(range(len(goes_on))):
        error = 1 - gamma + gamma * goes_on[t] * values[t + 1] - values[t]
        advantages[t] = after = error + gamma * decay * goes_on[t] * after
    return advantages


def loss_of(policy: Policy, part: Rollout, state, advantage: torch.Tensor) -> torch.Tensor:
    """Return PPO's clipped loss of whole rows, each of which is one sequence."""
    actions, value, _ = policy(part.seen, state, part.starts)
    ratio = (actions.log_prob(part.action) - part.log_prob).exp()
    gain = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    surrogate = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
    error = value - (advantage + part.value)
    return -surrogate.mean() + 0.5 * error.square().mean() - 0.01 * actions.entropy().mean()


def train(steps: int, batch=16, time_steps=128, hidden=64, seed=0) -> Policy:
    """Train a policy, printing how long episodes are."""
    torch.manual_seed(seed)
    poles, policy = Poles(batch, np.random.default_rng(seed)), Policy(hidden)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    state = (torch.zeros(1, batch, hidden), torch.zeros(1, batch, hidden))
    start, began = torch.ones(batch, dtype=torch.bool), time.perf_counter()
    for done in range(batch * time_steps, steps + 1, batch * time_steps):
        first = state
        rollout, state, start = collect(policy, poles, first, start, time_steps)
        with torch.no_grad():
            after = policy(poles.seen()[None], state, start[None])[1]
        goes_on = ~torch.cat([rollout.starts[1:], start[None]])
        advantage = advantages_of(torch.cat([rollout.value, after]), goes_on.float())
        for _ in range(4):
            for rows in torch.randperm(batch).chunk(2):
                part = Rollout(*(values[:, rows] for values in rollout))
                given = (first[0][:, rows], first[1][:, rows])
                loss = loss_of(policy, part, given, advantage[:, rows])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
                optimizer.step()
        per_episode = goes_on.numel() / max(1, int((~goes_on).sum()))
        rate = done / (time.perf_counter() - began)
        print(f"{done:8d} steps, {per_episode:7.1f} per end of an episode, {rate:6.0f} a second")
    return policy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    train(chosen.steps, seed=chosen.seed)
