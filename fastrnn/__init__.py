"""Recurrent networks as compiled kernels: fast on the CPU, from NumPy alone.

This file is the list of the public names. How the package reads: cells computed by kernels, run
over time by recurrence, in a workspace, by passes, worn as functions (functional) and layers, one
step at a time in steps; trained with losses and optim; judged by reference.

The letters of shapes, in every file: T time, B batch, I input size, H hidden size, G gates;
where there is a projection, P its size; E what is emitted (P, or H without one); D directions.
"""

from fastrnn import functional as functional
from fastrnn import losses as losses
from fastrnn import optim as optim
from fastrnn.gradients import Gradients as Gradients
from fastrnn.kernels.threads import get_num_threads as get_num_threads
from fastrnn.kernels.threads import set_num_threads as set_num_threads
from fastrnn.layers import GRU as GRU
from fastrnn.layers import LSTM as LSTM
from fastrnn.layers import RNN as RNN
from fastrnn.linear import Linear as Linear
from fastrnn.steps import GRUCell as GRUCell
from fastrnn.steps import LSTMCell as LSTMCell
from fastrnn.steps import RNNCell as RNNCell

__version__ = "0.1.0"
