"""Whole models in torch (models.py), before and after `fastrnn.torch.accelerate`.

python -m pytest bench/bench_models.py --benchmark-group-by=param:case,param:mode
python -m bench models           # interleaved, as a table
"""

import pytest

from bench.contenders import Missing

try:
    from bench import models
except Missing as reason:
    pytest.skip(str(reason), allow_module_level=True)


@pytest.mark.parametrize("who", ["torch", "fastrnn"])
@pytest.mark.parametrize("mode", ["train", "inference"])
@pytest.mark.parametrize("case", models.CASES)
def bench_models(benchmark, case, mode, who):
    run = models.ready(models.CASES[case])[mode][who]
    benchmark.pedantic(run, rounds=10, iterations=1, warmup_rounds=2)
