"""The corpora that can be taken in: for each, how its files are found and its labels are read."""
