"""Network heads: data, training, selection and search spaces."""
