"""Benchmarks: our way beside the plain way, in the same run, taking turns.

One module per benchmark: `SIZES` (its options with defaults) and ``run(sizes, repeats) -> list[Comparison]``. Add a
module and its name in ``__main__.BENCHMARKS``. Both sides do the same work on the same input, and each module checks
that they come to the same result: a faster wrong answer is no answer. Tests do not belong here.
"""
