"""Balance and certainty of three routers."""
from report_plot import draw

draw("routing", 2)
