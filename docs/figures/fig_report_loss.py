"""What three runs lost, and how far they are from the floor."""
from report_plot import draw

draw("loss", 2)
