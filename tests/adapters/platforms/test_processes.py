"""The contract, on local processes."""

from .contract import PlatformContract


class TestProcessesPlatform(PlatformContract):
    pass
