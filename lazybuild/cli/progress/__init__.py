"""Views of the events of a build. A view takes events from many threads and prints to stderr."""
