"""The cluster: its address, session, authentication, resources and storage."""
