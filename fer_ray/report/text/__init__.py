"""Text of the report: formatted values, sentences and the verdict."""
