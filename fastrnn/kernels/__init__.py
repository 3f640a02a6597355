"""HOW the arithmetic runs: it knows arrays, not recurrence."""

# All of them, so that `fastrnn.kernels.threads` is there when nobody has imported it.
from fastrnn.kernels import activation as activation
from fastrnn.kernels import affine as affine
from fastrnn.kernels import dots as dots
from fastrnn.kernels import gemm as gemm
from fastrnn.kernels import linked as linked
from fastrnn.kernels import machine as machine
from fastrnn.kernels import memory as memory
from fastrnn.kernels import rows as rows
from fastrnn.kernels import simd as simd
from fastrnn.kernels import team as team
from fastrnn.kernels import threads as threads
from fastrnn.kernels import tile as tile
