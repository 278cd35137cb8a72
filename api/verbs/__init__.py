"""The verbs of the command line, one file per group; whatever is heavy is imported inside them."""
