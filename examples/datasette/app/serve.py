"""Runs the datasette that the pipeline's build stage installed into ./site.

Started with `python -S`, so that nothing else that is installed on the machine is imported.
"""

import runpy
import sys

sys.path.insert(0, "site")
sys.argv = ["datasette", "serve", "--immutable", "ships.db", *sys.argv[1:]]
runpy.run_module("datasette", run_name="__main__")
