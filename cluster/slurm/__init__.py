"""Ray inside a SLURM allocation."""
