"""Whole trainings in the hosts, as they are and after `fastrnn.torch.accelerate`: curves.

sb3-contrib's RecurrentPPO, whose LSTM is called step by step, and a PPO of torchrl's parts, whose
"pad" backend splits the rows; both on CartPole without its velocities, one seed, two threads. The
numbers of both ways agree to rounding, until one rounding makes an agent draw another action. The
environment, the optimiser and the rest of each host are in the seconds too.

`python -m bench hosts` trains and draws; that the numbers are the same is tested in
tests/torch/hosts.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.cases.contender import Missing, module

SEED, ENVIRONMENTS, STEPS, HIDDEN, EPOCHS = 0, 4, 128, 32, 16
LIMITS = np.array([2.4, 0.2095], np.float32)  # of the cart's position and the pole's angle
SMOOTH = 30  # episodes in a mean of the plot


class Training(NamedTuple):
    """One training."""

    host: str
    accelerated: bool
    seconds: float
    rewards: list[tuple[int, float]]  # (environment steps so far, reward of the episode that ended)


def sb3(steps: int, accelerated: bool) -> list[tuple[int, float]]:
    """Train RecurrentPPO; return the rewards of episodes."""
    module("sb3_contrib")
    from tests.support.cartpole import train  # where the tests train it, too

    return train(steps, "MlpLstmPolicy", accelerated, SEED).rewards


def torchrl(steps: int, accelerated: bool) -> list[tuple[int, float]]:
    """Train a policy and a critic, each with an LSTM, by torchrl's ClipPPOLoss and GAE."""
    module("torchrl")
    import torch
    from tensordict.nn import TensorDictModule, TensorDictSequential
    from torch import nn
    from torchrl.modules import LSTMModule, ProbabilisticActor, set_recurrent_mode
    from torchrl.modules.distributions import OneHotCategorical
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    from fastrnn.torch import accelerate

    def lstm(h, c, out):
        return LSTMModule(
            2, HIDDEN, in_keys=["observation", h, c], out_keys=[out, ("next", h), ("next", c)]
        )

    torch.manual_seed(SEED)
    acting, judging = lstm("h_a", "c_a", "acted"), lstm("h_c", "c_c", "judged")
    logits = TensorDictModule(nn.Linear(HIDDEN, 2), ["acted"], ["logits"])
    actor = ProbabilisticActor(
        TensorDictSequential(acting, logits),
        in_keys=["logits"],
        distribution_class=OneHotCategorical,
        return_log_prob=True,
    )
    value = TensorDictModule(nn.Linear(HIDDEN, 1), ["judged"], ["state_value"])
    critic = TensorDictSequential(judging, value)
    networks = nn.ModuleList([actor, critic])
    if accelerated:
        accelerate(networks)
    environment = _environment([acting, judging])
    ppo = ClipPPOLoss(actor, critic, entropy_coeff=0.01, critic_coeff=0.5, normalize_advantage=True)
    gae = GAE(gamma=0.99, lmbda=0.95, value_network=critic, shifted=True, deactivate_vmap=True)
    optimiser, rewards = torch.optim.Adam(networks.parameters(), 3e-3), []
    both, now = TensorDictSequential(actor, critic), environment.reset()
    for done in range(STEPS * ENVIRONMENTS, steps + 1, STEPS * ENVIRONMENTS):
        rows = []
        with torch.no_grad():
            for _ in range(STEPS):
                step, now = environment.step_and_maybe_reset(both(now))
                rows.append(step)
        data = torch.stack(rows, 1).contiguous()
        data.names = [None, "time"]
        ended = data["next", "episode_reward"][data["next", "done"]].flatten().tolist()
        rewards += [(done, 100 * reward) for reward in ended]
        for _ in range(EPOCHS):
            with set_recurrent_mode(True):
                with torch.no_grad():
                    gae(data)
                losses = ppo(data)
            loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(networks.parameters(), 0.5)
            optimiser.step()
    return rewards


def _environment(recurrent: list) -> Any:
    """Return CartPoles without velocities side by side, which track where episodes begin."""
    from gymnasium import wrappers
    from torchrl.envs import Compose, GymWrapper, InitTracker, RewardSum, SerialEnv, TransformedEnv

    from tests.support.cartpole import Positions

    def one(number):
        seen = Positions()
        scaled = wrappers.TransformObservation(seen, lambda x: x / LIMITS, seen.observation_space)
        small = wrappers.TransformReward(scaled, lambda reward: reward / 100)
        wrapped = GymWrapper(small, categorical_action_encoding=False)
        tracked = TransformedEnv(wrapped, Compose(InitTracker(), RewardSum()))
        tracked.set_seed(SEED + number)
        return tracked

    each = [one(number) for number in range(ENVIRONMENTS)]
    side_by_side = SerialEnv(ENVIRONMENTS, [lambda e=e: e for e in each])
    states = [layer.make_tensordict_primer() for layer in recurrent]
    return TransformedEnv(side_by_side, Compose(*states))


HOSTS = {"sb3-contrib, RecurrentPPO": sb3, "torchrl, PPO": torchrl}


def measure(steps: int, say=print) -> list[Training]:
    """Train in each host that is installed, as it is and accelerated.

    A short training of each comes before, so that nobody pays for what is done once.
    """
    found = []
    for host, train in HOSTS.items():
        try:
            for accelerated in (True, False):
                train(2 * STEPS * ENVIRONMENTS, accelerated)
            for accelerated in (False, True):
                before = time.perf_counter()
                rewards = train(steps, accelerated)
                seconds = time.perf_counter() - before
                found.append(Training(host, accelerated, seconds, rewards))
                last = np.mean([reward for _, reward in rewards[-SMOOTH:]])
                way = "accelerated" if accelerated else "as it is"
                say(f"{host}, {way}: {seconds:.1f} s, the last episodes {last:.0f} steps")
        except Missing as reason:
            say(f"{host}: {reason}")
    return found


def picture(path: Path, found: list[Training]) -> None:
    """Draw the reward of episodes against steps, a panel for each host."""
    from fastrnn import plotting

    hosts = list(dict.fromkeys(t.host for t in found))

    def draw(figure):
        figure.set_size_inches(4.4 * len(hosts), 3.1)
        for axes, host in zip(figure.subplots(1, len(hosts), squeeze=False)[0], hosts, strict=True):
            for t in (t for t in found if t.host == host):
                steps, rewards = np.array(t.rewards).T
                mean = np.convolve(rewards, np.full(SMOOTH, 1 / SMOOTH), "valid")
                name = "accelerated" if t.accelerated else host.split(",")[0]
                axes.plot(
                    steps[SMOOTH - 1 :] / 1000,
                    mean,
                    color=plotting.ORANGE if t.accelerated else plotting.SKY,
                    linewidth=1.2 if t.accelerated else 3.5,
                    label=f"{name}: {t.seconds:.0f} s",
                )
            axes.set(xlabel="environment steps, in thousands", title=host)
            axes.set_ylabel(f"steps of an episode, mean of {SMOOTH}")
            axes.set_ylim(top=1.25 * axes.get_ylim()[1])  # room for the legend
            axes.legend(loc="upper left")

    plotting.save(path, "bench hosts", draw)
