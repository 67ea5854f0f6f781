"""How the container images are made: their locked requirements, and the build."""
