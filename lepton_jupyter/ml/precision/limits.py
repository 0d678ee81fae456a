"""When another way to compute is taken: the same for all frameworks."""

#: Least gain for which another way is taken; times differ by some per cent from run to run.
GAIN = 0.9
#: What agrees with float32: least cosine of all gradients, most difference of their length, most change of the loss.
COSINE, LENGTH, LOSS = 0.99, 0.1, 0.01
#: Steps that must be left for a probe to pay, and seconds for a compiler.
STEPS_LEFT, SECONDS_LEFT = 100, 60.0
#: How often each way is timed; the shortest counts.
TURNS = 4
