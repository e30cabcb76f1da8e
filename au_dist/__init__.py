"""Distributed training of facial action unit models on Ray."""
