"""Recipes of an optimiser: the loss by FLOPs, and the load of the busiest expert by step."""
from reproduced import Figure

figure = Figure("optimisers", 2)
figure.losses(seconds=False)
figure.by_step("max-over-mean", "busiest expert over the mean", low=1, high=3)
figure.print()
