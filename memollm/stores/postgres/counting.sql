-- How a PostgreSQL store notes what draws leave behind: what was counted, what was used, and what runs were given, each in
-- one round trip, however much it is. `memollm.` is written as the schema that the URL names.
--
-- Several processes note at once. Rows that they may share are locked in one order, so that nobody waits in a circle: calls
-- by their numbers, then accounts by their names; of transcripts readers, lanes, and then stretches.

-- name: counting_functions  They are made anew with each version of the schema.
-- Nobody forgets a call meanwhile. What may be lost by a crash is no reason to wait for a disk.
CREATE OR REPLACE FUNCTION memollm.begin_noting(me integer, by integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM memollm.require_asker(me, by);
    PERFORM pg_advisory_xact_lock_shared($KEEPING, 0);
END $$;

-- Runs used stretches of slots, which become one with those that they touch. Who calls has locked the calls, or is alone.
CREATE OR REPLACE FUNCTION memollm.join_uses(runs text[], calls bigint[], firsts bigint[], lasts bigint[])
RETURNS void LANGUAGE sql AS $$
    WITH given AS (
        SELECT run COLLATE "C" AS run, call, first, last FROM unnest(runs, calls, firsts, lasts) AS each (run, call, first, last)
        WHERE run IS NOT NULL AND call IS NOT NULL
    ), touched AS (
        DELETE FROM memollm.used USING given WHERE used.call = given.call AND used.run = given.run
            AND used.first <= given.last + 1 AND used.last >= given.first - 1
        RETURNING used.run, used.call, used.first, used.last
    ), reaching AS (
        SELECT *, max(last) OVER (
            PARTITION BY run, call ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
        FROM (SELECT * FROM given UNION SELECT * FROM touched) AS these
    ), apart AS (
        SELECT *, count(*) FILTER (WHERE reached IS NULL OR first > reached + 1) OVER (
            PARTITION BY run, call ORDER BY first, last) AS island
        FROM reaching
    )
    INSERT INTO memollm.used (run, call, first, last)
    SELECT run, call, min(first), max(last) FROM apart GROUP BY run, call, island;
$$;

-- Calls were used, which counts for what is evicted first. One that is gone is passed over.
CREATE OR REPLACE FUNCTION memollm.note_uses(
    runs text[], keys bytea[], digests bytea[], firsts bigint[], lasts bigint[], moments double precision[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    calls bigint[] := ARRAY(
        SELECT call.id FROM unnest(keys, digests) WITH ORDINALITY AS its (key, digest, nth)
        LEFT JOIN memollm.call ON call.key = its.key AND call.digest = its.digest ORDER BY its.nth);
BEGIN
    PERFORM 1 FROM memollm.call WHERE id = ANY (calls) ORDER BY id FOR NO KEY UPDATE;
    UPDATE memollm.call SET used = given.at
    FROM (SELECT each.id, max(each.at) AS at FROM unnest(calls, moments) AS each (id, at) GROUP BY each.id) AS given
    WHERE call.id = given.id AND call.used < given.at;
    PERFORM memollm.join_uses(runs, calls, firsts, lasts);
END $$;

-- What was counted adds up.
CREATE OR REPLACE FUNCTION memollm.add_counts(counted jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO memollm.tally AS had SELECT * FROM jsonb_populate_recordset(NULL::memollm.tally, counted)
    ORDER BY day, run, namespace, function
    ON CONFLICT (day, run, namespace, function) DO UPDATE SET
        draws = had.draws + excluded.draws, hits = had.hits + excluded.hits, shared = had.shared + excluded.shared,
        made = had.made + excluded.made, paid = had.paid + excluded.paid, refused = had.refused + excluded.refused,
        failed = had.failed + excluded.failed, unstored = had.unstored + excluded.unstored,
        unpriced = had.unpriced + excluded.unpriced, timed = had.timed + excluded.timed,
        timed_seconds = had.timed_seconds + excluded.timed_seconds,
        spent_seconds = had.spent_seconds + excluded.spent_seconds,
        spent_input = had.spent_input + excluded.spent_input, spent_output = had.spent_output + excluded.spent_output,
        spent_cost = had.spent_cost + excluded.spent_cost, saved_seconds = had.saved_seconds + excluded.saved_seconds,
        saved_input = had.saved_input + excluded.saved_input, saved_output = had.saved_output + excluded.saved_output,
        saved_cost = had.saved_cost + excluded.saved_cost, saved_unpriced = had.saved_unpriced + excluded.saved_unpriced;
$$;

-- Add up and note, once for an id. Accounts come last, as many share them.
CREATE OR REPLACE FUNCTION memollm.count(
    me integer, by integer, asked_as bigint, counted jsonb,
    runs text[], keys bytea[], digests bytea[], firsts bigint[], lasts bigint[], moments double precision[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM memollm.begin_noting(me, by);
    INSERT INTO memollm.asked (owner, id) VALUES (me, asked_as) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM memollm.note_uses(runs, keys, digests, firsts, lasts, moments);
        PERFORM memollm.add_counts(counted);
    END IF;
END $$;

-- Runs were given stretches of slots, as whom and in which lane; what they were given before stays in its place.
CREATE OR REPLACE FUNCTION memollm.transcribe(
    me integer, by integer, runners text[], readers text[], keys bytea[], digests bytea[], firsts bigint[], lasts bigint[],
    lanes text[], moments double precision[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM memollm.begin_noting(me, by);
    -- In the order of their names, as draws bring them.
    PERFORM memollm.number_of_reader(name) FROM (
        SELECT DISTINCT name COLLATE "C" AS name FROM unnest(runners || readers) AS name ORDER BY 1) AS these;
    PERFORM memollm.number_of_lane(name) FROM (
        SELECT DISTINCT name COLLATE "C" AS name FROM unnest(lanes) AS name WHERE name <> '' ORDER BY 1) AS these;
    INSERT INTO memollm.drawn (runner, reader, call, first, last, lane, at)
    SELECT runner.id, reader.id, call.id, given.first, given.last, coalesce(lane.id, 0), given.at
    FROM unnest(runners, readers, keys, digests, firsts, lasts, lanes, moments)
        AS given (runner, reader, key, digest, first, last, lane, at)
    JOIN memollm.reader AS runner ON runner.name = given.runner JOIN memollm.reader ON reader.name = given.reader
    LEFT JOIN memollm.lane ON lane.name = given.lane
    JOIN memollm.call ON call.key = given.key AND call.digest = given.digest
    ORDER BY call.id, runner.id, reader.id, given.first
    ON CONFLICT (call, runner, reader, first) DO UPDATE SET last = greatest(drawn.last, excluded.last);
END $$;
-- name: count  What was counted and used, once for an id.
SELECT memollm.count(%s, %s, %s, %s::jsonb, %s::text[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[],
    %s::double precision[]);
-- name: transcribe  What runs were given.
SELECT memollm.transcribe(%s, %s, %s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[],
    %s::text[], %s::double precision[]);
-- name: add_counts  What was counted elsewhere.
SELECT memollm.add_counts(%s::jsonb);
-- name: add_use  What a run used elsewhere.
SELECT memollm.join_uses(ARRAY[%s], ARRAY[%s]::bigint[], ARRAY[%s]::bigint[], ARRAY[%s]::bigint[]);
