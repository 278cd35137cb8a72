-- The tables of a ledger on PostgreSQL, and by which means the database itself refuses to forget.
-- Run by the owner; what serves and works does so as the role `shipslog_app`, which can only add events.
-- `stored_events` is the eventsourcing library's layout with its position made explicit.

CREATE SCHEMA shipslog;
SET LOCAL search_path = shipslog;

CREATE TABLE stored_events (
    position           bigint      PRIMARY KEY,
    originator_id      text        COLLATE "C" NOT NULL,
    originator_version bigint      NOT NULL,
    topic              text        COLLATE "C" NOT NULL,
    recorded_at        timestamptz NOT NULL,   -- as in the header, so that the next append finds it
    state              bytea       NOT NULL,
    UNIQUE (originator_id, originator_version)
);

CREATE TABLE commands (
    id     bytea  PRIMARY KEY,
    sha256 bytea  NOT NULL,
    first  bigint NOT NULL,
    last   bigint NOT NULL
);

CREATE TABLE work (
    stream     text        COLLATE "C" PRIMARY KEY,
    due_at     timestamptz,
    owner      text,
    token      bigint,
    expires_at timestamptz
) WITH (fillfactor = 70);

CREATE INDEX work_by_due ON work (due_at) WHERE owner IS NULL;
CREATE INDEX work_by_expiry ON work (expires_at) WHERE owner IS NOT NULL;

CREATE TABLE blobs (
    digest     text        COLLATE "C" PRIMARY KEY,
    bytes      bytea       NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE subjects (
    id         text        COLLATE "C" PRIMARY KEY,
    kind       text        NOT NULL,
    name       text,
    created_at timestamptz NOT NULL,
    erased_at  timestamptz,
    UNIQUE (kind, name)
);

CREATE TABLE personal_keys (
    id         text        COLLATE "C" PRIMARY KEY,
    subject    text        NOT NULL UNIQUE REFERENCES subjects (id),
    secret     bytea       NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE tokens (
    id           text        COLLATE "C" PRIMARY KEY,
    sha256       bytea       NOT NULL UNIQUE,
    subject      text        NOT NULL REFERENCES subjects (id),
    role         text        NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE meta (
    name  text   PRIMARY KEY,
    value bigint NOT NULL
);

INSERT INTO meta VALUES ('version', 3);

-- Tokens of leases come from here, so that each is above all before it.
CREATE SEQUENCE lease_tokens;

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;

-- A whole statement is looked at once: for each row it would cost as much as the row itself.
CREATE FUNCTION refuse_gaps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added WHERE position <> 1 AND NOT EXISTS (
            SELECT FROM shipslog.stored_events AS e WHERE e.position = added.position - 1
        )
    ) THEN
        RAISE EXCEPTION 'an event gets the next position' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER events_are_only_added
AFTER INSERT ON stored_events REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION refuse_gaps();

CREATE TRIGGER events_neither_change_nor_go
BEFORE UPDATE OR DELETE OR TRUNCATE ON stored_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse('an event neither changes nor goes');

CREATE TRIGGER commands_neither_change_nor_go
BEFORE UPDATE OR DELETE OR TRUNCATE ON commands
FOR EACH STATEMENT EXECUTE FUNCTION refuse('a command neither changes nor goes');

CREATE TRIGGER blobs_do_not_change
BEFORE UPDATE OR TRUNCATE ON blobs
FOR EACH STATEMENT EXECUTE FUNCTION refuse('a blob does not change');

-- Roles belong to the whole server: another ledger may have made this one, or who may make roles.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shipslog_app') THEN
        CREATE ROLE shipslog_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('GRANT shipslog_app TO %I', current_user);
EXCEPTION WHEN insufficient_privilege OR invalid_grant_operation THEN
    NULL;  -- found out, and said, when the first process connects
END $$;

-- Who looks around in a transaction, and forgets it, does not hold up VACUUM for ever.
DO $$
BEGIN
    EXECUTE format(
        'ALTER DATABASE %I SET idle_in_transaction_session_timeout = ''60s''', current_database()
    );
EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- its owner may
END $$;

GRANT USAGE ON SCHEMA shipslog TO shipslog_app;
GRANT SELECT, INSERT ON stored_events, commands, blobs TO shipslog_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON work TO shipslog_app;
GRANT SELECT, INSERT, UPDATE ON subjects, tokens TO shipslog_app;
GRANT SELECT, INSERT, DELETE ON personal_keys TO shipslog_app;
GRANT SELECT, UPDATE (value) ON meta TO shipslog_app;
GRANT USAGE ON SEQUENCE lease_tokens TO shipslog_app;
