"""Models of text as people write them in torch: what torch_models.py measures.

Each has `example(batch)`, the arguments of a call, and `loss` of them. Nothing here knows fastrnn.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Tagger(nn.Module):
    """A tag for each word of a sentence (Huang, Xu & Yu 2015): packed, both directions."""

    def __init__(self, kind, hidden, tags=17, words=10_000):
        super().__init__()
        self.words = nn.Embedding(words, 100)
        self.layer = getattr(nn, kind)(100, hidden, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(2 * hidden, tags)

    def forward(self, sentences, lengths):
        packed = pack_padded_sequence(self.words(sentences), lengths, True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return self.tags(output)

    def example(self, batch, shortest=7, longest=75):
        lengths = torch.randint(shortest, longest + 1, (batch,))
        lengths[0] = longest
        return torch.randint(10_000, (batch, longest)), lengths

    def loss(self, sentences, lengths):
        scores = self(sentences, lengths).transpose(1, 2)
        valid = torch.arange(sentences.shape[1]) < lengths[:, None]
        return F.cross_entropy(scores, torch.where(valid, sentences % 17, -100))


class LanguageModel(nn.Module):
    """The next character; sequences of one length, so nothing is packed."""

    def __init__(self, kind, hidden, layers=1, dropout=0.0, characters=100):
        super().__init__()
        self.characters = nn.Embedding(characters, hidden)
        self.layer = getattr(nn, kind)(hidden, hidden, layers, dropout=dropout)
        self.next = nn.Linear(hidden, characters)

    def forward(self, text):
        return self.next(self.layer(self.characters(text))[0])

    def example(self, batch, time=100):
        return (torch.randint(100, (time, batch)),)

    def loss(self, text):
        return F.cross_entropy(self(text[:-1]).flatten(0, 1), text[1:].flatten())


class Translator(nn.Module):
    """An encoder, and a decoder that runs a cell step by step (Sutskever et al. 2014)."""

    def __init__(self, inputs=64, hidden=272, steps=6):
        super().__init__()
        self.steps = steps
        self.encoder, self.decoder = nn.LSTM(inputs, hidden), nn.LSTMCell(inputs, hidden)
        self.head = nn.Linear(hidden, inputs)

    def forward(self, source):
        _, (h, c) = self.encoder(source)
        hx, seen, outputs = (h[0], c[0]), source[-1], []
        for _ in range(self.steps):
            hx = self.decoder(seen, hx)
            seen = self.head(hx[0])
            outputs.append(seen)
        return torch.stack(outputs)

    def example(self, batch, time=60):
        return (torch.randn(time, batch, 64),)

    def loss(self, source):
        return F.mse_loss(self(source), source[: self.steps])


class AttentiveTranslator(nn.Module):
    """Attention by hand: the decoder looks at all of the source (Bahdanau et al. 2015)."""

    def __init__(self, hidden=128, words=2_000, steps=15):
        super().__init__()
        self.steps = steps
        self.source, self.target = nn.Embedding(words, 64), nn.Embedding(words, 64)
        self.encoder = nn.GRU(64, hidden, bidirectional=True, batch_first=True)
        self.decoder = nn.GRUCell(64 + 2 * hidden, hidden)
        self.key, self.query = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, hidden)
        self.score, self.words = nn.Linear(hidden, 1), nn.Linear(hidden, words)

    def forward(self, source, target):
        memory, h = self.encoder(self.source(source))
        h, keys, scores = h[0], self.key(memory), []
        for word in self.target(target[:, : self.steps]).unbind(1):
            weights = self.score(torch.tanh(keys + self.query(h)[:, None])).softmax(1)
            h = self.decoder(torch.cat([word, (weights * memory).sum(1)], 1), h)
            scores.append(self.words(h))
        return torch.stack(scores, 1)

    def example(self, batch, time=30):
        return torch.randint(2_000, (batch, time)), torch.randint(2_000, (batch, self.steps))

    def loss(self, source, target):
        return F.cross_entropy(self(source, target).transpose(1, 2), target)


class Captioner(nn.Module):
    """A caption from a picture's features, which are the first word (Vinyals et al. 2015)."""

    def __init__(self, hidden=256, words=5_000):
        super().__init__()
        self.picture, self.words = nn.Linear(512, hidden), nn.Embedding(words, hidden)
        self.layer = nn.LSTM(hidden, hidden, batch_first=True)
        self.next = nn.Linear(hidden, words)

    def forward(self, features, words):
        seen = torch.cat([self.picture(features)[:, None], self.words(words)], 1)
        return self.next(self.layer(seen)[0])

    def example(self, batch, time=18):
        return torch.randn(batch, 512), torch.randint(5_000, (batch, time))

    def loss(self, features, words):
        return F.cross_entropy(self(features, words[:, :-1]).transpose(1, 2), words)


class Sentiment(nn.Module):
    """A class of a text: both directions, pooled by attention (Yang et al. 2016)."""

    def __init__(self, hidden=128, words=10_000):
        super().__init__()
        self.words = nn.Embedding(words, 100)
        self.layer = nn.GRU(100, hidden, bidirectional=True, batch_first=True)
        self.look, self.weight = nn.Linear(2 * hidden, 100), nn.Linear(100, 1, bias=False)
        self.head = nn.Linear(2 * hidden, 2)

    def forward(self, text):
        output, _ = self.layer(self.words(text))
        weights = self.weight(torch.tanh(self.look(output))).softmax(1)
        return self.head((weights * output).sum(1))

    def example(self, batch, time=80):
        return (torch.randint(10_000, (batch, time)),)

    def loss(self, text):
        return F.cross_entropy(self(text), text[:, 0] % 2)


class Prediction(nn.Module):
    """The prediction network of a transducer (Graves 2012): trained whole, run word by word."""

    def __init__(self, hidden=320, words=500, steps=20):
        super().__init__()
        self.steps = steps
        self.words, self.layer = nn.Embedding(words, 128), nn.LSTM(128, hidden, batch_first=True)
        self.joint = nn.Linear(hidden, words)

    def forward(self, words):
        hx, scores = None, []
        for word in self.words(words).split(1, 1):
            output, hx = self.layer(word, hx)
            scores.append(self.joint(output))
        return torch.cat(scores, 1)

    def example(self, batch):
        return (torch.randint(500, (batch, self.steps)),)

    def loss(self, words):
        scores = self.joint(self.layer(self.words(words[:, :-1]))[0])
        return F.cross_entropy(scores.transpose(1, 2), words[:, 1:])
