"""When another way to compute is tried, and when it is taken: the same for all frameworks."""

import math

#: Least gain for which another way is taken; times differ by some per cent from run to run.
GAIN = 0.9
#: What agrees with float32: least cosine of all gradients, most difference of their length, most change of the loss.
COSINE, LENGTH, LOSS = 0.99, 0.1, 0.01
#: What a probe, or a compiler, may cost at most, as a share of the training that is left.
SHARE = 0.05
#: How often each way is timed; the shortest counts.
TURNS = 3
#: How much slower than the best a way may be and still be timed again.
HOPELESS = 1.5


def runs(ways: int) -> int:
    """Runs of a step that a probe of so many ways takes: the present way first, then each in turns with the best."""
    return TURNS + 3 + ways * (2 * TURNS + 1)


def steps_needed(ways: int) -> int:
    """How many steps must be left for such a probe to pay."""
    return math.ceil(runs(ways) / SHARE)
