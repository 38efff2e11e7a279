-- The statements by which vectors and matches are kept. `memollm.` is written as the schema that the URL names.

-- name: matching_functions  They are made anew with each version of the schema.
-- A number is given once, and is above those before it in the order of committing: so whoever asks for one holds the lock
-- of them until its transaction ends. It is a time, so that a server which has lost its last moments gives none again.
CREATE OR REPLACE FUNCTION memollm.last_vector() RETURNS bigint LANGUAGE sql AS $$
    SELECT greatest(max(id), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) FROM memollm.vector;
$$;

CREATE OR REPLACE FUNCTION memollm.learn(
    calls jsonb, spaces bytea[], embedders text[], parameters text[], vectors bytea[], made_at double precision
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[];
    last bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared($KEEPING, 0);
    numbers := memollm.numbers_of_calls(calls, made_at);
    PERFORM pg_advisory_xact_lock($KEEPING, 3);
    last := memollm.last_vector();
    INSERT INTO memollm.vector (id, space, call, embedder, parameter, vector)
    SELECT last + nth, its_space, numbers[nth], its_embedder, its_parameter, its_vector
    FROM unnest(spaces, embedders, parameters, vectors) WITH ORDINALITY
        AS these (its_space, its_embedder, its_parameter, its_vector, nth)
    ON CONFLICT (call, space) DO NOTHING;
END $$;

-- A call that was forgotten meanwhile is no longer given.
CREATE OR REPLACE FUNCTION memollm.note(
    calls jsonb, keys bytea[], forms text[], shadows boolean[], parameters text[], scores double precision[],
    rules text[], ats double precision[], made_at double precision
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[];
    sources bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared($KEEPING, 0);
    sources := ARRAY(
        SELECT call.id FROM unnest(keys, forms) WITH ORDINALITY AS these (its_key, its_form, nth)
        LEFT JOIN memollm.call ON call.key = its_key AND call.form = its_form ORDER BY nth);
    numbers := memollm.numbers_of_calls(calls, made_at);
    -- In one order, so that nobody waits in a circle; of several of one call the last one counts.
    INSERT INTO memollm.likeness AS had (call, shadow, source, parameter, score, rule, at)
    SELECT DISTINCT ON (1, 2) numbers[nth], its_shadow, sources[nth], its_parameter, its_score, its_rule, its_at
    FROM unnest(shadows, parameters, scores, rules, ats) WITH ORDINALITY
        AS these (its_shadow, its_parameter, its_score, its_rule, its_at, nth)
    WHERE sources[nth] IS NOT NULL ORDER BY 1, 2, nth DESC
    ON CONFLICT (call, shadow) DO UPDATE SET source = excluded.source, parameter = excluded.parameter,
        score = excluded.score, rule = excluded.rule, at = excluded.at;
END $$;
-- name: learn  Keep vectors.
SELECT memollm.learn(%s, %s, %s, %s, %s, %s);
-- name: note_matches  Keep matches.
SELECT memollm.note(%s, %s, %s, %s, %s, %s, %s, %s, %s);
-- name: vectors  The vectors of a space that whoever asks does not know yet, some at a time.
SELECT id, vector FROM memollm.vector WHERE space = %s AND id > %s ORDER BY id LIMIT %s;
-- name: calls_of_vectors  Whose vectors they are.
SELECT vector.id, call.key, call.form, call.function FROM memollm.vector JOIN memollm.call ON call.id = vector.call
WHERE vector.id = ANY (%s) AND vector.space = %s;
-- name: any_vector  Whether there is any.
SELECT 1 FROM memollm.vector LIMIT 1;
-- name: vectors_with_spaces  The vectors of a call, and where each belongs.
SELECT embedder, parameter, vector FROM memollm.vector
WHERE call = (SELECT id FROM memollm.call WHERE key = %s AND form = %s) ORDER BY id;
-- name: match_of  What a call without a sample of its own was given.
SELECT source.key, source.form, source.function, parameter, score, rule, at
FROM memollm.call AS asked JOIN memollm.likeness ON likeness.call = asked.id AND NOT likeness.shadow
JOIN memollm.call AS source ON source.id = likeness.source
WHERE asked.key = %s AND asked.form = %s
    AND NOT EXISTS (SELECT 1 FROM memollm.slot WHERE slot.call = asked.id AND slot.record IS NOT NULL);
-- name: matches  All matches, in the order of making.
SELECT asked.key, asked.form, asked.function, source.key, source.form, source.function, parameter, score, rule, at, shadow
FROM memollm.likeness JOIN memollm.call AS asked ON asked.id = likeness.call
JOIN memollm.call AS source ON source.id = likeness.source
WHERE %s::text IS NULL OR asked.function = %s ORDER BY at, asked.id;
-- name: vectors_of_call  What is to move with a call.
SELECT id, embedder, parameter FROM memollm.vector WHERE call = %s ORDER BY id;
-- name: move_vector  It is another call's, in another space; under a number that nobody has passed yet.
INSERT INTO memollm.vector (id, space, call, embedder, parameter, vector)
SELECT memollm.last_vector() + 1, %s, %s, embedder, parameter, vector FROM memollm.vector WHERE id = %s
ON CONFLICT (call, space) DO NOTHING;
-- name: remove_vector  One of them.
DELETE FROM memollm.vector WHERE id = %s;
-- name: forget_vectors  The vectors of a call.
DELETE FROM memollm.vector WHERE call = %s;
-- name: forget_matches  What it was given,
DELETE FROM memollm.likeness WHERE call = %s;
-- name: forget_sources  and what was given of it.
DELETE FROM memollm.likeness WHERE source = %s;
-- name: append_matches  What a call was given is another's now,
WITH moved AS (DELETE FROM memollm.likeness WHERE call = %(old)s RETURNING *)
INSERT INTO memollm.likeness (call, shadow, source, parameter, score, rule, at)
SELECT %(new)s, shadow, source, parameter, score, rule, at FROM moved
ON CONFLICT (call, shadow) DO UPDATE SET source = excluded.source, parameter = excluded.parameter,
    score = excluded.score, rule = excluded.rule, at = excluded.at;
-- name: append_sources  and so is what was given of it.
UPDATE memollm.likeness SET source = %(new)s WHERE source = %(old)s;
