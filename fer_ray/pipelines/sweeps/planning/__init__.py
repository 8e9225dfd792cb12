"""What a sweep has to do: listing the source and comparing it with the store."""
