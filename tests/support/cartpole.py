"""CartPole without its velocities, and sb3-contrib's RecurrentPPO trained on it.

An agent has to remember the last positions. Needs gymnasium and sb3-contrib.
"""

from typing import NamedTuple

import gymnasium
import numpy as np
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from fastrnn.torch import accelerate
from fastrnn.torch.hosts.sb3 import is_accelerated


class Positions(gymnasium.ObservationWrapper):
    """CartPole whose observation is the cart's position and the pole's angle."""

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1"))
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def observation(self, observation):
        return observation[[0, 2]]


class _Double(FlattenExtractor):
    def forward(self, observations):
        return super().forward(observations).double()


class DoublePolicy(RecurrentActorCriticPolicy):
    """A policy in float64, though sb3's buffers are of float32."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, features_extractor_class=_Double, **options)
        self.double()

    def forward(self, obs, lstm_states, episode_starts, deterministic=False):
        return super().forward(obs, _doubles(lstm_states), episode_starts, deterministic)

    def predict_values(self, obs, lstm_states, episode_starts):
        lstm_states = tuple(s.double() for s in lstm_states)
        return super().predict_values(obs, lstm_states, episode_starts)

    def evaluate_actions(self, obs, actions, lstm_states, episode_starts):
        return super().evaluate_actions(obs, actions, _doubles(lstm_states), episode_starts)


def _doubles(states):
    return RNNStates(*(tuple(s.double() for s in pair) for pair in states))


class _Losses(BaseCallback):
    def __init__(self):
        super().__init__()
        self.losses, self.rewards = [], []

    def _on_step(self):
        ended = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        self.rewards += [(self.num_timesteps, float(r)) for r in ended]
        return True

    def _on_rollout_start(self):
        known = self.logger.name_to_value
        if "train/loss" in known:
            names = ("loss", "value_loss", "policy_gradient_loss", "entropy_loss")
            self.losses.append([self.num_timesteps, *(float(known[f"train/{n}"]) for n in names)])


class Run(NamedTuple):
    """What a training left."""

    losses: list  # [steps, loss, value loss, policy loss, entropy loss] of each update but the last
    rewards: list  # (steps, episode's reward)
    parameters: list


def _environment():
    """Return CartPole with rewards of 1 - gamma, so that values are between 0 and 1."""
    counted = gymnasium.wrappers.RecordEpisodeStatistics(Positions())
    return gymnasium.wrappers.TransformReward(counted, lambda reward: reward / 100)


def train(steps, policy, accelerated, seed=0) -> Run:
    """Train RecurrentPPO by sb3's own loop, or accelerated."""
    environment = DummyVecEnv([_environment] * 4)
    model = RecurrentPPO(
        policy,
        environment,
        n_steps=128,
        batch_size=128,
        n_epochs=4,
        learning_rate=3e-3,
        ent_coef=0.01,
        seed=seed,
        device="cpu",
        policy_kwargs={"lstm_hidden_size": 32, "net_arch": []},
    )
    if accelerated:
        accelerate(model.policy)
    assert is_accelerated(model.policy) is accelerated
    callback = _Losses()
    model.learn(steps, callback)
    return Run(callback.losses, callback.rewards, [p.detach() for p in model.policy.parameters()])
