"""The list of the demos; none is imported until it is run.

Each file here is one demo: recurrent networks, compared with a baseline, on data that some package
contains. Its docstring names task, data, network and source. It has one function,
`run(quick=False, seed=0, progress=silent) -> Result`, which takes at most two minutes on two cores;
with `quick`, for tests, seconds, learning from less. What demos share is in measures.py and
result.py; the command `fastrnn demo` is cli/demo.py.
"""

# name -> (model, what it learns)
DEMOS = {
    "digits": ("RNNClassifier", "handwritten digits, by rows and by pixels"),
    "sentiment": ("RNNClassifier", "a word's characters to its polarity"),
    "sunspots": ("RNNRegressor", "sunspots, one and twelve years ahead"),
    "tag": ("RNNTagger", "characters of Python source to kinds of token"),
    "caption": ("RNNGenerator", "a digit's image to its name, letter by letter"),
    "adding": ("RNNRegressor", "the sum of two marked numbers among 150"),
    "exploding": ("RNN", "the first of 50 bits, with and without clipping"),
    "memory": ("GRU", "a policy: to turn as a cue said long ago"),
    "generate": ("RNNGenerator", "a text, and how it could go on"),
    "translate": ("Seq2Seq", "names of countries and languages to other languages"),
}
