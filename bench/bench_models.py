"""Whole torch models (cases/torch_models.py), before and after `fastrnn.torch.accelerate`.

python -m pytest bench/bench_models.py --benchmark-group-by=param:case,param:mode
python -m bench models           # interleaved, as a table
"""

import pytest

from bench.cases.contender import Missing

try:
    from bench.cases import torch_models
except Missing as reason:
    pytest.skip(str(reason), allow_module_level=True)


@pytest.mark.parametrize("contender", ["torch", "fastrnn"])
@pytest.mark.parametrize("mode", ["train", "inference"])
@pytest.mark.parametrize("case", torch_models.CASES)
def bench_models(benchmark, case, mode, contender):
    model, (_, batch), _ = torch_models.CASES[case]
    run = torch_models.ready(model, batch)[mode][contender]
    benchmark.pedantic(run, rounds=10, iterations=1, warmup_rounds=2)
