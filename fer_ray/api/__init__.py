"""The public Python API; `import fer_ray` offers its names."""
