"""OCI values: digests, descriptors, manifests, configs, references. No I/O."""
