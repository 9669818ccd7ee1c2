"""Rules that rewrite a plan before it runs, one short file each."""
