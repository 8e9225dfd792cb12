"""The label files of published data sets, one module per data set."""
