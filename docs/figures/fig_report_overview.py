"""Plots of a report: loss, load, entropy, and domains by expert."""
from report_plot import draw

draw("overview", 2)
