"""What was released: the versions of a model in MLflow's registry, who moved its alias when and why, and what serves them."""
