"""Processes that follow one ledger on PostgreSQL: servers, workers, builds of two ages."""
