"""Models of series, sounds, pictures and control as people write them in torch.

Each has `example(batch)`, the arguments of a call, and `loss` of them. Nothing here knows fastrnn.
Sizes are those of public models where one is named.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Forecaster(nn.Module):
    """The next day of some series from the days before, hour by hour."""

    def __init__(self, kind, hidden, layers=2):
        super().__init__()
        self.layer = getattr(nn, kind)(8, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, 24)

    def forward(self, series):
        return self.head(self.layer(series)[0][:, -1])

    def example(self, batch, time=144):
        return (torch.randn(batch, time, 8),)

    def loss(self, series):
        return F.mse_loss(self(series), series[:, :24, 0])


class Tabular(nn.Module):
    """The notebook's favourite: two LSTMs with batch normalisation and dropout after each."""

    def __init__(self, features=12, hidden=64):
        super().__init__()
        self.first = nn.LSTM(features, hidden, batch_first=True)
        self.second = nn.LSTM(hidden, hidden // 2, batch_first=True)
        self.norms = nn.ModuleList([nn.BatchNorm1d(hidden), nn.BatchNorm1d(hidden // 2)])
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(hidden // 2, 1)

    def forward(self, series):
        output = self.first(series)[0].transpose(1, 2)
        output = self.dropout(self.norms[0](output)).transpose(1, 2)
        return self.head(self.dropout(self.norms[1](self.second(output)[0][:, -1])))

    def example(self, batch, time=60):
        return (torch.randn(batch, time, 12),)

    def loss(self, series):
        return F.mse_loss(self(series), series[:, 0, :1])


class SpeakerEncoder(nn.Module):
    """A voice's fingerprint (Wan et al. 2018), at Resemblyzer's sizes."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)

    def forward(self, frames):
        return F.normalize(F.relu(self.head(self.layer(frames)[1][0][-1])), dim=1)

    def example(self, batch, time=160):
        return (torch.randn(batch, time, 40),)

    def loss(self, frames):
        prints = self(frames)
        return (prints @ prints.T).square().mean()


class VoiceActivity(nn.Module):
    """Is somebody speaking: convolutions, a cell, chunk by chunk, at Silero's sizes."""

    def __init__(self, chunks=10):
        super().__init__()
        self.chunks = chunks
        sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        layers = [nn.Sequential(nn.Conv1d(i, o, 3, s, 1), nn.ReLU()) for i, o, s in sizes]
        self.encoder, self.cell = nn.Sequential(*layers), nn.LSTMCell(128, 128)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(128, 1))

    def forward(self, spectra):
        hx, scores = None, []
        for spectrum in spectra:
            hx = self.cell(self.encoder(spectrum)[:, :, 0], hx)
            scores.append(torch.sigmoid(self.head(hx[0])))
        return torch.stack(scores)

    def example(self, batch):
        return (torch.rand(self.chunks, batch, 129, 4),)

    def loss(self, spectra):
        return F.binary_cross_entropy(self(spectra)[..., 0], spectra[:, :, 0, 0])


class Handwriting(nn.Module):
    """A line of writing, from its picture: convolutions, BiLSTMs, CTC (Shi, Bai & Yao 2017)."""

    def __init__(self, hidden=128, letters=37):
        super().__init__()
        sizes = [(1, 16, 2), (16, 32, 2), (32, 64, (2, 1)), (64, 64, (4, 1))]
        layers = [
            nn.Sequential(nn.Conv2d(i, o, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(p)) for i, o, p in sizes
        ]
        self.eyes = nn.Sequential(*layers)
        self.layer = nn.LSTM(64, hidden, 2, bidirectional=True)
        self.head = nn.Linear(2 * hidden, letters)

    def forward(self, pictures):
        columns = self.eyes(pictures)[:, :, 0].permute(2, 0, 1)
        return self.head(self.layer(columns)[0])

    def example(self, batch):
        return (torch.randn(batch, 1, 32, 128),)

    def loss(self, pictures):
        scores = self(pictures).log_softmax(2)
        time, batch, _ = scores.shape
        targets = torch.arange(1, 9).repeat(batch, 1)
        return F.ctc_loss(scores, targets, torch.full((batch,), time), torch.full((batch,), 8))


class SpectrogramDecoder(nn.Module):
    """Speech frame by frame: two cells and attention in a loop (Shen et al. 2018), halved."""

    def __init__(self, hidden=512, memory=256, mels=80, steps=20):
        super().__init__()
        self.steps, self.mels = steps, mels
        self.before = nn.Sequential(nn.Linear(mels, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.looking = nn.LSTMCell(128 + memory, hidden)
        self.speaking = nn.LSTMCell(hidden + memory, hidden)
        self.key, self.query = nn.Linear(memory, 128), nn.Linear(hidden, 128)
        self.score, self.frame = nn.Linear(128, 1), nn.Linear(hidden + memory, mels)

    def forward(self, memory):
        keys, batch = self.key(memory), len(memory)
        context, frame = memory[:, 0], memory.new_zeros(batch, self.mels)
        looking = speaking = None
        frames = []
        for _ in range(self.steps):
            looking = self.looking(torch.cat([self.before(frame), context], 1), looking)
            scores = self.score(torch.tanh(keys + self.query(looking[0])[:, None]))
            context = (scores.softmax(1) * memory).sum(1)
            speaking = self.speaking(torch.cat([looking[0], context], 1), speaking)
            frame = self.frame(torch.cat([speaking[0], context], 1))
            frames.append(frame)
        return torch.stack(frames)

    def example(self, batch, time=40):
        return (torch.randn(batch, time, 256),)

    def loss(self, memory):
        return self(memory).square().mean()


class Policy(nn.Module):
    """An agent with a memory: a step at a time (actor-critic, 20 steps)."""

    def __init__(self, kind, hidden):
        super().__init__()
        self.eyes = nn.Linear(16, 64)
        self.layer = getattr(nn, kind)(64, hidden)
        self.actor, self.critic = nn.Linear(hidden, 4), nn.Linear(hidden, 1)

    def step(self, seen, hx):
        output, hx = self.layer(torch.tanh(self.eyes(seen)), hx)
        return self.actor(output), self.critic(output), hx

    def forward(self, episode):
        hx, actions = None, []
        for seen in episode:
            scores, _, hx = self.step(seen, hx)
            actions.append(scores.argmax(-1))
        return torch.stack(actions)

    def example(self, batch, time=20):
        return (torch.randn(time, 1, batch, 16),)

    def loss(self, episode):
        hx, terms = None, []
        for seen in episode:
            scores, value, hx = self.step(seen, hx)
            logs, reward = F.log_softmax(scores, -1)[..., 1], seen[..., 0]
            value = value[..., 0]
            terms.append(F.mse_loss(value, reward) - (logs * (reward - value.detach())).mean())
        return torch.stack(terms).mean()


class SequencePolicy(nn.Module):
    """A recurrent PPO policy in its update: whole rollouts, two networks (Schulman et al. 2017)."""

    def __init__(self, hidden=256):
        super().__init__()
        self.eyes = nn.Sequential(nn.Linear(24, 64), nn.Tanh())
        self.actor, self.critic = nn.LSTM(64, hidden), nn.LSTM(64, hidden)
        self.action, self.value = nn.Linear(hidden, 4), nn.Linear(hidden, 1)

    def forward(self, rollouts):
        seen = self.eyes(rollouts)
        return torch.cat([self.action(self.actor(seen)[0]), self.value(self.critic(seen)[0])], -1)

    def example(self, batch, time=128):
        return (torch.randn(time, batch, 24),)

    def loss(self, rollouts):
        scores, reward = self(rollouts), rollouts[..., 0]
        logs, advantage = F.log_softmax(scores[..., :4], -1), reward - scores[..., 4].detach()
        gain = (logs[..., 0] - logs[..., 0].detach()).exp().clamp(0.8, 1.2) * advantage
        return F.mse_loss(scores[..., 4], reward) - gain.mean() + 0.01 * (logs * logs.exp()).mean()


class Steps(nn.Module):
    """A layer or a cell alone, called step by step."""

    def __init__(self, kind, hidden):
        super().__init__()
        self.is_cell, self.layer = kind.endswith("Cell"), getattr(nn, kind)(64, hidden)

    def forward(self, episode):
        hx, outputs = None, []
        for seen in episode:
            if self.is_cell:
                hx = self.layer(seen[0], hx)
                outputs.append(hx[0] if isinstance(hx, tuple) else hx)
            else:
                output, hx = self.layer(seen, hx)
                outputs.append(output[0])
        return torch.cat(outputs)

    def example(self, batch, time=20):
        return (torch.randn(time, 1, batch, 64),)

    def loss(self, episode):
        return self(episode).square().mean()
