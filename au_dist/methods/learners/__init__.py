"""What methods need torch for: their modules, and how these are judged."""
