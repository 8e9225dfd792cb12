"""The report: figures and self-contained HTML pages about runs, predictions and sweeps."""
