"""Object stores: URIs, clients, listings and paths."""
