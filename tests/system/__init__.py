"""Tests of the whole: real processes, from the command line to the service's users."""
