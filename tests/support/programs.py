"""A call of a layer by the general Program, whatever program its shape would be prepared for.

The other side of tests of bit equality: no shape is remembered, and no single step has its own way.
"""

from fastrnn import checks
from fastrnn.engine.batch import batch_of
from fastrnn.nn.arguments import Pullback, bare, read_sequence, read_state
from fastrnn.nn.program import Program


def general(layer, x, state=None, lengths=None, keep=False):
    """Return `(output, state), pullback`; without keep, the pullback is None."""
    x, call = read_sequence("general", layer.spec, x, batch_first=layer.batch_first)
    lengths = checks.lengths("general", lengths, call.time, call.batch, call.batched)
    batch = batch_of(call.time, call.batch, lengths)
    program = Program(layer.spec, call._replace(keep=keep))
    initial = read_state("general", "state", "{}_0", state, program)
    output, final, tape = program.run(layer.weights(), x, initial, batch)
    pullback = Pullback("general", program, tape, layer.names) if keep else None
    return (output, bare(final)), pullback
