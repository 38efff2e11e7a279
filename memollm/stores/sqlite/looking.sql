-- The statements by which a SQLite store is looked into. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: list_readers  Readers with what they have drawn and not given back.
SELECT CAST(name AS TEXT), count(cursor.call),
    CAST(total(cursor.next) AS INTEGER) - (SELECT count(*) FROM loose WHERE loose.reader = reader.id)
FROM reader JOIN cursor ON cursor.reader = reader.id GROUP BY reader.id ORDER BY name;
-- name: notes_function  The catalog of functions, for who may only read; or the one document of a name.
SELECT key, value FROM catalog_function WHERE ?1 IS NULL OR key = ?1 ORDER BY key;
-- name: notes_namespace  The catalog of namespaces.
SELECT key, value FROM catalog_namespace WHERE ?1 IS NULL OR key = ?1 ORDER BY key;
-- name: notes_run  The catalog of runs.
SELECT key, value FROM catalog_run WHERE ?1 IS NULL OR key = ?1 ORDER BY key;
-- name: calls_of_function  What is stored of a function.
SELECT call.key, call.form, call.function, (SELECT count(*) FROM sample WHERE sample.call = call.id)
FROM call WHERE function = ?
    AND typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
ORDER BY call.id;
-- name: samples_of  A run of slots of a call that is known by its hash and form.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost, latency FROM sample
WHERE call = (SELECT id FROM call WHERE key = ? AND form = ?) AND slot BETWEEN ? AND ? ORDER BY slot;
-- name: standing  Where a reader stands in a call: its cursor, what of the positions before it was not given, and lanes' own.
SELECT 'next', CAST(next AS INTEGER), NULL FROM cursor
WHERE reader = (SELECT id FROM reader WHERE name = ?1) AND call = (SELECT id FROM call WHERE key = ?3 AND form = ?4)
UNION ALL SELECT 'loose', CAST(position AS INTEGER), NULL FROM loose
WHERE reader = (SELECT id FROM reader WHERE name = ?1) AND call = (SELECT id FROM call WHERE key = ?3 AND form = ?4)
UNION ALL SELECT * FROM (
    SELECT 'lane', CAST(position AS INTEGER), CAST(name AS TEXT) FROM recorded JOIN lane ON lane.id = recorded.lane
    WHERE recorder = (SELECT id FROM reader WHERE name = ?2) AND call = (SELECT id FROM call WHERE key = ?3 AND form = ?4)
    ORDER BY nth);
-- name: counted  Everything that was counted.
SELECT * FROM tally ORDER BY day, run, namespace, function;
-- name: inventory  Every call that has samples: how large it is, when its first one was made and when it was last used.
SELECT call.id, call.function, count(*), sum(length(sample.record)) + length(CAST(call.form AS BLOB)),
    min(max(coalesce(CAST(min(sample.stored) AS REAL), 0), 0), 253370764799),
    min(max(coalesce(CAST(max(call.used, max(sample.stored)) AS REAL), 0), 0), 253370764799)
FROM call JOIN sample ON sample.call = call.id
WHERE typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
GROUP BY call.id;
-- name: survey  Every call that has samples, or those of a function, and what its samples are and took together.
SELECT call.key, call.form, call.function, count(*), sum(length(sample.record)) + length(CAST(call.form AS BLOB)),
    min(max(coalesce(CAST(min(sample.stored) AS REAL), 0), 0), 253370764799),
    min(max(coalesce(CAST(max(call.used, max(sample.stored)) AS REAL), 0), 0), 253370764799),
    min(max(coalesce(CAST(total(sample.seconds) AS REAL), 0), 0), 253370764799),
    CAST(total(sample.input_tokens) AS INTEGER), CAST(total(sample.output_tokens) AS INTEGER), CAST(sum(sample.cost) AS REAL)
FROM call JOIN sample ON sample.call = call.id
WHERE (? IS NULL OR call.function = ?) AND typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
GROUP BY call.id;
-- name: readers_of  Readers of a call with what they have drawn of it and not given back, once for each of their lanes.
WITH this AS (SELECT id FROM call WHERE key = ?1 AND form = ?2),
    lanes AS (SELECT DISTINCT recorder, lane FROM recorded WHERE call = (SELECT id FROM this))
SELECT CAST(reader.name AS TEXT),
    CAST(cursor.next AS INTEGER) - (SELECT count(*) FROM loose WHERE loose.reader = reader.id AND loose.call = cursor.call), CAST(lane.name AS TEXT)
FROM this JOIN cursor ON cursor.call = this.id JOIN reader ON reader.id = cursor.reader
LEFT JOIN reader AS recorder ON recorder.name = CASE WHEN reader.name GLOB 'run:*' THEN 'run:' ELSE reader.name END
LEFT JOIN lanes ON lanes.recorder = recorder.id AND EXISTS (
    SELECT 1 FROM recorded WHERE recorded.recorder = recorder.id AND recorded.call = cursor.call
        AND recorded.lane = lanes.lane AND recorded.position < cursor.next AND NOT EXISTS (
            SELECT 1 FROM loose WHERE loose.reader = reader.id AND loose.call = cursor.call AND loose.position = recorded.position))
LEFT JOIN lane ON lane.id = lanes.lane
ORDER BY reader.name, lane.name;
-- name: transcript  What was given of a run, as a reader and in a lane, or in any, in the order of asking.
SELECT CAST(runner.name AS TEXT), CAST(reader.name AS TEXT), CAST(coalesce(lane.name, '') AS TEXT),
    call.key, call.form, call.function, CAST(drawn.first AS INTEGER), CAST(drawn.last AS INTEGER),
    min(max(coalesce(CAST(drawn.at AS REAL), 0), 0), 253370764799)
FROM drawn JOIN reader AS runner ON runner.id = drawn.runner JOIN reader ON reader.id = drawn.reader
JOIN call ON call.id = drawn.call LEFT JOIN lane ON lane.id = drawn.lane
WHERE (?1 IS NULL OR runner.name = ?1) AND (?2 IS NULL OR reader.name = ?2) AND (?3 IS NULL OR coalesce(lane.name, '') = ?3)
    AND typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
ORDER BY drawn.at, drawn.first;
-- name: claimant  Who is filling a slot of a call, for a look from outside.
SELECT call.form, owner.name, claim.ticket FROM call JOIN claim ON claim.call = call.id JOIN owner ON owner.id = claim.owner
WHERE call.key = ? AND claim.slot = ?;
-- name: claims  Every slot that is being filled, and by whom.
SELECT call.key, call.form, call.function, CAST(claim.slot AS INTEGER), owner.name
FROM claim JOIN call ON call.id = claim.call JOIN owner ON owner.id = claim.owner
WHERE typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
ORDER BY claim.call, claim.slot;
