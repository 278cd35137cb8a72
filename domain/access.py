"""Access: actors, roles and what each role may do."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .errors import DeniedError


class Permission(StrEnum):
    """One verb on one kind of thing."""

    ENVIRONMENT_DEFINE = "environment:define"
    PIPELINE_DEFINE = "pipeline:define"
    DEPLOYMENT_REQUEST = "deployment:request"
    DEPLOYMENT_ABORT = "deployment:abort"
    DEPLOYMENT_RETRY = "deployment:retry"
    DEPLOYMENT_ROLLBACK = "deployment:rollback"
    LEDGER_READ = "ledger:read"
    LEDGER_EXPORT = "ledger:export"
    METRICS_READ = "metrics:read"
    TOKEN_CREATE = "token:create"  # noqa: S105 - a permission, not a secret
    VIEWS_REBUILD = "views:rebuild"


_READ = frozenset({Permission.LEDGER_READ})
_DEPLOY = _READ | {
    Permission.DEPLOYMENT_REQUEST,
    Permission.DEPLOYMENT_ABORT,
    Permission.DEPLOYMENT_RETRY,
    Permission.DEPLOYMENT_ROLLBACK,
}


class Role(StrEnum):
    """What a token is made out for."""

    VIEWER = "viewer"
    AUDITOR = "auditor"
    APPROVER = "approver"
    DEPLOYER = "deployer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything this role may do."""
        return _GRANTS[self]


_GRANTS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _READ,
    Role.APPROVER: _READ,
    Role.AUDITOR: _READ | {Permission.METRICS_READ, Permission.LEDGER_EXPORT},
    Role.DEPLOYER: _DEPLOY,
    Role.OPERATOR: _DEPLOY
    | {
        Permission.ENVIRONMENT_DEFINE,
        Permission.PIPELINE_DEFINE,
        Permission.METRICS_READ,
        Permission.LEDGER_EXPORT,
        Permission.VIEWS_REBUILD,
    },
    Role.ADMIN: frozenset(Permission),
}


class Actor(msgspec.Struct, frozen=True):
    """Who asks: an opaque subject id, and what it may do."""

    subject: str
    role: Role


def require(actor: Actor, permission: Permission) -> None:
    """Let the actor pass, or refuse with DeniedError."""
    if permission not in actor.role.permissions:
        raise DeniedError(permission=permission.value)
