"""Drop-in for torch.nn's recurrent modules on the CPU: the same numbers, faster.

    model = fastrnn.torch.accelerate(model)      # or write fastrnn.torch.LSTM for torch.nn.LSTM

The classes are subclasses of torch's with no state of their own, so a state_dict, an optimiser or a
hook made for one is one for the other; pickles hold torch's. What fastrnn does not do goes torch's
own way. `import fastrnn` does not import this.
"""

try:
    import torch as _  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'fastrnn.torch needs PyTorch: pip install "fastrnn[torch]"', name="torch"
    ) from error

from fastrnn.kernels import team, threads
from fastrnn.torch.modules import GRU as GRU
from fastrnn.torch.modules import LSTM as LSTM
from fastrnn.torch.modules import RNN as RNN
from fastrnn.torch.modules import GRUCell as GRUCell
from fastrnn.torch.modules import LSTMCell as LSTMCell
from fastrnn.torch.modules import RNNCell as RNNCell
from fastrnn.torch.swap import accelerate as accelerate
from fastrnn.torch.swap import report as report
from fastrnn.torch.swap import restore as restore

threads.share_with(team.find())
