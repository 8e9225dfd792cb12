"""Drawing the synthetic face into pixels."""
