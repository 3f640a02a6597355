"""The list of the public names: what `fastrnn.NAME` can be, and where each is defined.

Imports and nothing else; `fastrnn/__init__.py` loads this file when one of the names is first used.
"""

from fastrnn import functional as functional
from fastrnn import init as init
from fastrnn import losses as losses
from fastrnn import optim as optim
from fastrnn.checking import GradcheckError as GradcheckError
from fastrnn.checking import GradcheckReport as GradcheckReport
from fastrnn.checking import gradcheck as gradcheck
from fastrnn.kernels.threads import get_num_threads as get_num_threads
from fastrnn.kernels.threads import set_num_threads as set_num_threads
from fastrnn.nn.cells import GRUCell as GRUCell
from fastrnn.nn.cells import LSTMCell as LSTMCell
from fastrnn.nn.cells import RNNCell as RNNCell
from fastrnn.nn.gradients import Gradients as Gradients
from fastrnn.nn.layers import GRU as GRU
from fastrnn.nn.layers import LSTM as LSTM
from fastrnn.nn.layers import RNN as RNN
from fastrnn.nn.linear import Linear as Linear
from fastrnn.nn.truncated import truncated_bptt as truncated_bptt
from fastrnn.tracing import GradientFlow as GradientFlow
from fastrnn.tracing import gradient_flow as gradient_flow
from fastrnn.tracing import trace as trace
