"""What `lisa-tool doctor` looks at. Only the self-test imports a model and its runtime."""
