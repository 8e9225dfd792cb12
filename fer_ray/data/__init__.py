"""Reading images: listings of source trees, decoding, and the embedded corpus."""
