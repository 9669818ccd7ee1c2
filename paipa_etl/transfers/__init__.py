"""Many inputs, an output for each: their names, their runs, and what all runs did together."""
