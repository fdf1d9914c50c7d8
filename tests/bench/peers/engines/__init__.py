"""The engines: one process each, which reads its job from the environment. None imports another, or the project."""
