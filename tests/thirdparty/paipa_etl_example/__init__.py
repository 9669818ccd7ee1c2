"""A format, a codec, a store and a step for paipa-etl, one file each; nothing is imported here."""
