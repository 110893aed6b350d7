"""Where steps of ours find things, and what they are called there."""

TOPS = "/mnt/tops"  # in the step that ranks: one file system for each layer; 0 is the base
TRACES = "/mnt/traces"  # in every step that orders: one folder for each traced step
LOWER, UPPER = "/mnt/lower", "/mnt/upper"  # in the step that writes a layer
RANKED = "/mnt/ranked"
OUT = "/mnt/out"
LAYERS = "/mnt/layers"  # in the container that offers them

NAMES, LAYER = "names", "layer.json"
BLOBS = "blobs/sha256"
