"""Gradients and the rate of three runs."""
from report_plot import draw

draw("gradient", 2)
