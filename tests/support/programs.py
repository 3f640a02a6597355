"""A call of a layer by the general Program, whatever program its shape would be prepared for.

The other side of tests of bit equality: no shape is remembered, and no single step has its own way.
"""

from fastrnn.nn.arguments import Pullback, bare, read_call, read_state
from fastrnn.nn.program import Program


def general(layer, x, state=None, lengths=None, keep=False):
    """Return `(output, state), pullback`; without keep, the pullback is None."""
    x, call, batch = read_call("general", layer.spec, x, lengths, batch_first=layer.batch_first)
    program = Program(layer.spec, call._replace(keep=keep))
    initial = read_state("general", "state", "{}_0", state, program)
    output, final, tape = program.run(layer.weights(), x, initial, batch)
    pullback = Pullback("general", program, tape, layer.names) if keep else None
    return (output, bare(final)), pullback
