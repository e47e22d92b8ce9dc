"""The commands, one file a subject: each asks, shows, and gives its exit status."""
