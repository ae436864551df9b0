"""One model, many callers: bounded waiting, deadlines, cancellation and caches."""
