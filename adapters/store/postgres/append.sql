-- The one way into the log. A batch is decided by its writer on facts that are checked here, under
-- the order lock: where they hold all of it is stored, else nothing, and the facts are returned.
-- The lock is taken by a statement of its own: under READ COMMITTED every later statement then
-- sees what the holder before has committed. In one statement with max(position) it would not.
-- Where a flush is slow, what was appended is committed, and with it the lock released, before it
-- is flushed. The flush is that of a later commit, which all writers share.
CREATE PROCEDURE append_events(
    is_early boolean,            -- commit before the flush, and wait for it without the lock
    written_at timestamptz,      -- the writer's present, which stands in the headers ...
    written_text text,           -- ... in these very letters
    tells boolean,               -- notify those who listen
    known_head bigint,           -- where the writer knows the log to end, all versions but ...
    unknown_streams integer,     -- ... those of so many of the first streams that were read
    streams text[], versions bigint[], topics text[], states bytea[],
    read_streams text[], read_versions bigint[],
    command_ids bytea[], sha256s bytea[], firsts bigint[], lasts bigint[],  -- positions after the head
    asked_ids bytea[],           -- commands to be looked up: no constraint speaks for them
    leased integer,              -- so many leases are claimed; null where no work is touched
    touched text[], owners text[], tokens bigint[],  -- work, sorted, and whose it must be if any's
    due_streams text[], due_ats timestamptz[], forgotten text[],  -- null for none
    digests text[], contents bytea[],  -- blobs that events of this session may name, sorted; or null
    OUT head bigint,             -- the newest position before; null where nothing was stored
    OUT recorded_at timestamptz, -- when the events were recorded, after all
    OUT facts text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    stamp  text;
    holds  boolean := true;
    called text; -- for its effect: PERFORM would start the executor each time
BEGIN
    -- Beside the lock: what others keep at the same time is waited for here, by nobody who has it.
    IF digests IS NOT NULL THEN
        INSERT INTO shipslog.blobs (digest, bytes, created_at)
        SELECT digest, content, written_at FROM unnest(digests, contents) AS kept (digest, content)
        ON CONFLICT (digest) DO NOTHING;
    END IF;

    called := pg_advisory_xact_lock(7887012594);

    SELECT e.position, e.recorded_at INTO head, recorded_at
    FROM shipslog.stored_events AS e ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    -- Where the log still ends with this session's own last append, nobody else has been here.
    IF head IS DISTINCT FROM known_head
        OR head::text IS DISTINCT FROM current_setting('shipslog.head', true)
    THEN
        unknown_streams := cardinality(read_streams);
    END IF;

    -- One after the other, so that no query is made ready whose answer nobody needs.
    IF leased IS NOT NULL THEN
        -- A claim must not come between: rows stay locked, always in one order, until the commit.
        holds := (
            SELECT count(*) FILTER (WHERE is_so) FROM (
                SELECT held.owner = claimed.owner AND held.token = claimed.token
                    AND held.expires_at > clock_timestamp() AS is_so
                FROM unnest(touched, owners, tokens) AS claimed (stream, owner, token)
                JOIN shipslog.work AS held ON held.stream = claimed.stream
                ORDER BY held.stream FOR NO KEY UPDATE OF held
            ) AS locked
        ) = leased;
    END IF;
    IF holds AND unknown_streams > 0 THEN
        holds := NOT EXISTS (
            SELECT FROM unnest(read_streams[:unknown_streams], read_versions[:unknown_streams])
                AS assumed (stream, version)
            WHERE assumed.version <> coalesce((
                SELECT max(e.originator_version) FROM shipslog.stored_events AS e
                WHERE e.originator_id = assumed.stream
            ), 0)
        );
    END IF;
    IF holds AND cardinality(asked_ids) > 0 THEN
        holds := NOT EXISTS (SELECT FROM shipslog.commands WHERE id = ANY (asked_ids));
    END IF;

    IF NOT holds THEN
        head := NULL;
        SELECT jsonb_build_object('owners', (
            SELECT coalesce(jsonb_object_agg(stream, jsonb_build_array(owner, token)), '{}')
            FROM shipslog.work
            WHERE stream = ANY (touched) AND owner IS NOT NULL AND expires_at > clock_timestamp()
        ), 'versions', (
            SELECT jsonb_object_agg(stream, coalesce((
                SELECT max(e.originator_version) FROM shipslog.stored_events AS e
                WHERE e.originator_id = stream
            ), 0)) FROM unnest(read_streams) AS asked (stream)
        ), 'known', (
            SELECT jsonb_object_agg(
                encode(id, 'hex'), jsonb_build_array(encode(sha256, 'hex'), first, last)
            )
            FROM shipslog.commands WHERE id = ANY (command_ids || asked_ids)
        )) INTO facts;
        RETURN;
    END IF;

    IF recorded_at > written_at THEN
        -- Another writer's clock is ahead: its instant goes into these headers too.
        stamp := to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
            || CASE WHEN recorded_at = date_trunc('second', recorded_at) THEN 'Z'
               ELSE to_char(recorded_at AT TIME ZONE 'UTC', '.US"Z"') END;
        states := ARRAY(
            SELECT overlay(state PLACING convert_to(stamp, 'UTF8')
                FROM position('"recorded_at":"'::bytea IN state) + 15
                FOR octet_length(written_text))
            FROM unnest(states) WITH ORDINALITY AS old (state, number) ORDER BY number
        );
    ELSE
        recorded_at := written_at;
    END IF;

    -- One alone is common, and the executor gets it ready in two thirds of the time.
    IF cardinality(streams) = 1 THEN
        INSERT INTO shipslog.stored_events
            (position, originator_id, originator_version, topic, recorded_at, state)
        VALUES (
            head + 1, streams[1], versions[1], topics[1], append_events.recorded_at, states[1]
        );
    ELSE
        INSERT INTO shipslog.stored_events
            (position, originator_id, originator_version, topic, recorded_at, state)
        SELECT head + number, stream, version, topic, append_events.recorded_at, state
        FROM unnest(streams, versions, topics, states)
            WITH ORDINALITY AS added (stream, version, topic, state, number);
    END IF;
    IF cardinality(command_ids) = 1 THEN
        INSERT INTO shipslog.commands (id, sha256, first, last)
        VALUES (command_ids[1], sha256s[1], head + firsts[1], head + lasts[1]);
    ELSE
        INSERT INTO shipslog.commands (id, sha256, first, last)
        SELECT id, sha256, head + first, head + last
        FROM unnest(command_ids, sha256s, firsts, lasts) AS settled (id, sha256, first, last);
    END IF;

    IF forgotten IS NOT NULL THEN
        DELETE FROM shipslog.work WHERE stream = ANY (forgotten);
    END IF;
    IF due_streams IS NOT NULL THEN
        -- An append can only bring a look forward; only an owner, who has looked, puts it off.
        INSERT INTO shipslog.work AS old (stream, due_at)
        SELECT stream, due_at FROM unnest(due_streams, due_ats) AS asked (stream, due_at)
        ON CONFLICT (stream) DO UPDATE SET due_at = excluded.due_at
        WHERE old.due_at IS NULL OR old.due_at > excluded.due_at;
    END IF;
    IF tells THEN
        called := pg_notify('shipslog', '');
    END IF;
    called := set_config('shipslog.head', (head + cardinality(streams))::text, false);
    IF is_early THEN
        called := set_config('synchronous_commit', 'off', true);
        COMMIT;
        called := pg_logical_emit_message(true, 'shipslog', '');
    END IF;
END $$;

GRANT EXECUTE ON PROCEDURE append_events TO shipslog_app;
