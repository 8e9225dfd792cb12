"""Listing and decoding the images of a source."""
