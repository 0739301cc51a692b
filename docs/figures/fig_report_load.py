"""The load of layer 1 in three runs."""
from report_plot import draw

draw("load", 1)
