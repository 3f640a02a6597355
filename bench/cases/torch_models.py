"""Whole models as people write them in torch, before and after `fastrnn.torch.accelerate`.

Training is a whole step: forward, loss, backward, Adam. Inference is forward alone. Both sides run
the same code on the same numbers, and are compared before they are timed. The models themselves are
in zoo_text.py and zoo_signals.py; single layers, other libraries and the machine's limit are
measured with the shapes of shapes.py.
"""

import copy
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bench.cases.contender import Missing
from bench.tools.timing import interleaved, wait_until_quiet

try:
    import torch
except ImportError:
    raise Missing("torch is not installed") from None

import fastrnn.torch
from bench.cases import zoo_signals as signals
from bench.cases import zoo_text as text

MODES = "train", "inference"
PACES = "back to back", "every 20 ms"


class Case(NamedTuple):
    """A model, the batches it is measured with, and what is asked of it besides.

    Attributes:
        model: makes it.
        batches: small and large.
        bars: the speed-ups that it should have, by mode and batch, back to back; else 1.
    """

    model: Callable[[], Any]
    batches: tuple[int, int]
    bars: Mapping[tuple[str, int], float] = MappingProxyType({})


def _both(batch: int, train: float, inference: float) -> dict[tuple[str, int], float]:
    return {("train", batch): train, ("inference", batch): inference}


# Layers and cells alone, step by step: what a policy or a detector of voices does all day.
_STEPS = {"LSTM": 5, "GRU": 3, "RNN": 1, "LSTMCell": 1.4, "GRUCell": 1, "RNNCell": 1}

CASES = {
    "translator: LSTM 272, 6 steps of LSTMCell": Case(
        text.Translator, (1, 40), _both(40, 1.2, 1.2)
    ),
    "translator: BiGRU, attention by hand": Case(text.AttentiveTranslator, (1, 32)),
    "tagger: BiLSTM 256, packed": Case(lambda: text.Tagger("LSTM", 256), (2, 28), _both(28, 3, 2)),
    "tagger: BiGRU 256, packed": Case(lambda: text.Tagger("GRU", 256), (2, 28)),
    "language model: LSTM 256": Case(
        lambda: text.LanguageModel("LSTM", 256), (1, 32), _both(32, 1.15, 1.05)
    ),
    "language model: LSTM 512": Case(
        lambda: text.LanguageModel("LSTM", 512), (1, 32), _both(32, 1.15, 1.05)
    ),
    "language model: GRU 256": Case(lambda: text.LanguageModel("GRU", 256), (1, 32)),
    "characters: LSTM 2 x 128, dropout": Case(
        lambda: text.LanguageModel("LSTM", 128, 2, 0.2), (1, 64)
    ),
    "captioner: LSTM 256": Case(text.Captioner, (1, 32)),
    "sentiment: BiGRU 128, attention": Case(text.Sentiment, (1, 32)),
    "transducer's prediction: LSTM 320": Case(text.Prediction, (1, 16)),
    "forecaster: GRU 2 x 128": Case(
        lambda: signals.Forecaster("GRU", 128), (1, 48), _both(48, 3, 3)
    ),
    "forecaster: RNN 2 x 128": Case(lambda: signals.Forecaster("RNN", 128), (1, 48)),
    "series: LSTMs 64 and 32, BatchNorm": Case(signals.Tabular, (4, 64)),
    "speaker encoder: LSTM 3 x 256": Case(signals.SpeakerEncoder, (1, 9), {("inference", 1): 1.2}),
    "voice activity: LSTMCell 128": Case(signals.VoiceActivity, (1, 32)),
    "handwriting: BiLSTM 2 x 128, CTC": Case(signals.Handwriting, (1, 16)),
    "spectrogram decoder: LSTMCells 512": Case(signals.SpectrogramDecoder, (1, 16)),
    "policy: LSTM 128, step by step": Case(lambda: signals.Policy("LSTM", 128), (1, 16)),
    "policy: GRU 128, step by step": Case(lambda: signals.Policy("GRU", 128), (1, 16)),
    "recurrent PPO: two LSTMs of 256": Case(signals.SequencePolicy, (2, 16)),
    **{
        f"20 steps: {kind} 128": Case(
            lambda kind=kind: signals.Steps(kind, 128), (1, 24), {("inference", 1): bar}
        )
        for kind, bar in _STEPS.items()
    },
}


HEADING = """# Whole torch models, before and after `fastrnn.torch.accelerate`

The time with torch.nn over the time with these kernels, for a small batch and a large one (B):
above 1 fastrnn is faster. Training is a whole step with Adam, inference a call. float32; medians,
in turns. `python -m bench models --out bench/report` measures it anew; what the models are:
bench/cases/zoo_text.py and zoo_signals.py.
"""


class Measured(NamedTuple):
    """Seconds of one model, and the bar of their ratio."""

    name: str
    batch: int
    mode: str
    pace: str
    torch: float
    ours: float
    bar: float

    @property
    def ratio(self) -> float:
        return self.torch / self.ours


def ready(model: Callable[[], Any], batch: int) -> dict[str, dict[str, Callable]]:
    """Return `mode -> contender -> run`, after checking that both compute the same.

    Raises:
        ArithmeticError: they do not.
    """
    torch.manual_seed(0)
    plain = model()
    models = {"torch": plain, "fastrnn": fastrnn.torch.accelerate(copy.deepcopy(plain))}
    example, runs = plain.example(batch), {mode: {} for mode in MODES}
    found = {}
    for contender, model in models.items():
        optimiser = torch.optim.Adam(model.parameters())

        def train(model=model, optimiser=optimiser):
            model.train()
            optimiser.zero_grad()
            loss = model.loss(*example)
            loss.backward()
            optimiser.step()
            return loss

        def infer(model=model):
            model.eval()
            with torch.inference_mode():
                return model(*example)

        runs["train"][contender], runs["inference"][contender] = train, infer
        torch.manual_seed(1)  # the same masks of dropout
        found[contender] = infer().float(), train().detach(), *(p.grad for p in model.parameters())
    for got, want in zip(found["fastrnn"], found["torch"], strict=True):
        error = float((got - want).abs().max() / max(1.0, float(want.abs().max())))
        if not error < 1e-3:
            raise ArithmeticError(f"off by {error:.1e}")
    return runs


def _back_to_back(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Return the median time of calls that follow each other, in blocks of each contender's."""
    times = interleaved(runs, rounds, 0.12)
    return {name: float(np.median(medians)) for name, medians in times.items()}


def _every_20_ms(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Return the median time of calls that come seldom, as in a program that waits for its input.

    Contenders take turns at every call: where threads wake, soon or late, lasts for many calls.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(6 * rounds):
        for name, run in runs.items():
            time.sleep(0.02)
            before = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - before)
    return {name: float(np.median(found)) for name, found in times.items()}


def measure(names, paces=PACES, modes=MODES, rounds: int = 5):
    """Yield a Measured for each case by name, batch, mode and pace."""
    timers = dict(zip(PACES, (_back_to_back, _every_20_ms), strict=True))
    for name in names:
        case = CASES[name]
        for batch in case.batches:
            runs = ready(case.model, batch)
            for mode in modes:
                for pace in paces:
                    wait_until_quiet()
                    found = timers[pace](runs[mode], rounds)
                    bar = case.bars.get((mode, batch), 1.0) if pace == PACES[0] else 1.0
                    yield Measured(name, batch, mode, pace, found["torch"], found["fastrnn"], bar)


def markdown(found: list[Measured]) -> str:
    """Return a table for each pace: a line a model, the time with torch over the time with ours."""
    return "\n".join(
        f"{pace}:\n\n{_table([m for m in found if m.pace == pace])}"
        for pace in dict.fromkeys(m.pace for m in found)
    )


def _table(found: list[Measured]) -> str:
    modes, names = dict.fromkeys(m.mode for m in found), dict.fromkeys(m.name for m in found)
    lines = [
        "| model | B | " + " | ".join(f"{mode} | " for mode in modes) + " |",
        "|---" * (2 + 2 * len(modes)) + "|",
    ]
    for name in names:
        own = {(m.mode, m.batch): m for m in found if m.name == name}
        batches = CASES[name].batches
        ratios = [own[mode, batch].ratio for mode in modes for batch in batches]
        texts = [f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}**" for ratio in ratios]
        lines.append(f"| {name} | {batches[0]}, {batches[1]} | " + " | ".join(texts) + " |")
    for what, summary in (("geometric mean", _mean), ("least", min)):
        columns = [
            [m.ratio for m in found if m.mode == mode and m.batch == CASES[m.name].batches[i]]
            for mode in modes
            for i in (0, 1)
        ]
        lines.append(f"| {what} | | " + " | ".join(f"{summary(c):.2f}" for c in columns) + " |")
    return "\n".join(lines) + "\n"


def _mean(ratios: list[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios))))
