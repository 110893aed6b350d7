"""The picture of `lazybuild inspect --html`: one page, made of values, that asks no network."""
