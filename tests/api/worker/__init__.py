"""Tests of the worker, over a ledger in memory and a platform that dies when it is told to."""
