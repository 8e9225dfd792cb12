"""What a sweep commits: results, images, its manifest, and removals."""
