"""The tables of the read models as they first were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text(collation="C")


def upgrade() -> None:
    """Make them."""
    _progress()
    _deployments()
    _targets()
    _history()
    _audit()
    _definitions()


def _progress() -> None:
    op.create_table(
        "progress",
        sa.Column(
            "id", sa.BigInteger, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False
        ),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("newest", TEXT, nullable=False),
        sa.Column("signature", TEXT, nullable=False),
    )
    op.create_table(
        "parked",
        sa.Column("model", TEXT, primary_key=True),
        sa.Column("stream", TEXT, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("error", TEXT, nullable=False),
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("requested_position", sa.BigInteger, nullable=False),
        sa.Column("environment", TEXT, nullable=False),
        sa.Column("service", TEXT, nullable=False),
        sa.Column("pipeline", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("is_final", sa.Boolean, nullable=False),
        sa.Column("document", TEXT, nullable=False),
    )
    newest = "requested_position"
    op.create_index("deployments_newest", "deployments", [newest], unique=True)
    op.create_index("deployments_status", "deployments", ["status", newest])
    op.create_index("deployments_target", "deployments", ["environment", "service", newest])
    op.create_index("deployments_service", "deployments", ["service", newest])
    op.create_index("deployments_pipeline", "deployments", ["pipeline", newest])
    op.create_index("deployments_actor", "deployments", ["actor", newest])


def _targets() -> None:
    op.create_table(
        "targets",
        sa.Column("environment", TEXT, primary_key=True),
        sa.Column("service", TEXT, primary_key=True),
        sa.Column("version", TEXT),
        sa.Column("revision", TEXT),
        sa.Column("deployment", TEXT),
        sa.Column("since", sa.BigInteger),
        sa.Column("holder", TEXT),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("state", TEXT, nullable=False),
    )
    op.create_index("targets_service", "targets", ["service", "environment"])


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("deployment", TEXT, primary_key=True),
        sa.Column("environment", TEXT, nullable=False),
        sa.Column("service", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("requested_by", TEXT, nullable=False),
        sa.Column("reason", TEXT),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("completed_at", sa.BigInteger),
    )
    target = ["environment", "service", "position"]
    op.create_index("history_target", "history", target, unique=True)
    op.create_table(
        "history_limits",
        sa.Column("environment", TEXT, primary_key=True),
        sa.Column("kept", sa.BigInteger, nullable=False),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("stream", TEXT, nullable=False),
        sa.Column("environment", TEXT),
        sa.Column("service", TEXT),
        sa.Column("deployment", TEXT),
        sa.Column("command", TEXT, nullable=False),
    )
    op.create_index("audit_recorded", "audit", ["recorded_at"])
    op.create_index("audit_actor", "audit", ["actor"])
    op.create_index("audit_kind", "audit", ["kind"])
    op.create_index("audit_topic", "audit", ["topic"])
    op.create_index("audit_target", "audit", ["environment", "service"])
    op.create_index("audit_deployment", "audit", ["deployment"])


def _definitions() -> None:
    op.create_table(
        "definitions",
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("document", TEXT, nullable=False),
        sa.Column("defined_at", sa.BigInteger, nullable=False),
        sa.Column("defined_by", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "definitions_in_force",
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
