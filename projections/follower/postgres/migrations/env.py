"""How alembic runs the migrations: over the connection that it is given, in one transaction."""

from __future__ import annotations

from alembic import context


def run() -> None:
    """Run what alembic was asked for."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


# Alembic executes this file under a name of its own; imported as a module it does nothing.
if __name__ == "env_py":
    run()
