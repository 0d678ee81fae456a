"""The figures of the README, measured beside their peers in one run: `make bench`."""
