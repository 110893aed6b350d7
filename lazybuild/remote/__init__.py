"""A BuildKit elsewhere as the engine: `--builder ADDRESS`.

Our compiler makes the graph here and hands it over through the daemon's gateway; files,
credentials, secrets and agents are served to it out of this process, outputs come back.
"""
