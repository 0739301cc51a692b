"""Six plots of seven runs, six of them broken: each leaves the others in another one."""
from report_plot import draw

draw("gallery", 2, "36-when-training-goes-wrong")
