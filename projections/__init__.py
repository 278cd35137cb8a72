"""Read models, each rebuilt from the log."""

from .audit import Audit
from .definitions import Definitions
from .deployments import Deployments
from .follower import ReadModel
from .history import History
from .targets import Targets

READ_MODELS: tuple[ReadModel, ...] = (
    Deployments(),
    Targets(),
    History(),
    Audit(),
    Definitions(),
)
"""Every read model there is."""
