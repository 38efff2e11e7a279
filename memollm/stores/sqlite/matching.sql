-- The statements by which vectors and matches are kept. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: vectors  The vectors of a space that whoever asks does not know yet.
SELECT id, vector FROM vector WHERE space = ? AND id > ? AND typeof(vector) = 'blob' ORDER BY id LIMIT ?;
-- name: call_of_vector  Whose vector it is.
SELECT call.key, call.form, call.function FROM vector JOIN call ON call.id = vector.call
WHERE vector.id = ? AND vector.space = ? AND typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text';
-- name: any_vector  Whether there is any.
SELECT 1 FROM vector LIMIT 1;
-- name: vectors_with_spaces  The vectors of a call, and where each belongs.
SELECT CAST(embedder AS TEXT), CAST(parameter AS TEXT), vector FROM vector
WHERE call = (SELECT id FROM call WHERE key = ? AND form = ?) AND typeof(vector) = 'blob' ORDER BY id;
-- name: add_vector  A call has one vector in a space.
INSERT INTO vector (space, call, embedder, parameter, vector) SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (SELECT 1 FROM vector WHERE call = ?2 AND space = ?1);
-- name: match_of  What a call without a sample of its own was given.
SELECT source.key, source.form, source.function, CAST(parameter AS TEXT), CAST(score AS REAL),
    CAST(rule AS TEXT), CAST(at AS REAL)
FROM call AS asked JOIN likeness ON likeness.call = asked.id AND likeness.shadow = 0 JOIN call AS source ON source.id = likeness.source
WHERE asked.key = ? AND asked.form = ? AND NOT EXISTS (SELECT 1 FROM sample WHERE sample.call = asked.id)
    AND typeof(source.key) = 'blob' AND typeof(source.form) = 'text' AND typeof(source.function) = 'text';
-- name: matches  All matches, in the order of making.
SELECT asked.key, asked.form, asked.function, source.key, source.form, source.function, CAST(parameter AS TEXT),
    CAST(score AS REAL), CAST(rule AS TEXT), CAST(at AS REAL), shadow <> 0
FROM likeness JOIN call AS asked ON asked.id = likeness.call JOIN call AS source ON source.id = likeness.source
WHERE (? IS NULL OR asked.function = ?) AND typeof(asked.form) = 'text' AND typeof(source.form) = 'text'
    AND typeof(asked.key) = 'blob' AND typeof(source.key) = 'blob'
    AND typeof(asked.function) = 'text' AND typeof(source.function) = 'text'
ORDER BY at, asked.id;
-- name: put_match  The last one counts.
INSERT OR REPLACE INTO likeness (call, shadow, source, parameter, score, rule, at) VALUES (?, ?, ?, ?, ?, ?, ?);
-- name: vectors_of_call  What is to move with a call.
SELECT id, CAST(embedder AS TEXT), CAST(parameter AS TEXT) FROM vector WHERE call = ?;
-- name: move_vector  It is another call's, in another space; under a number that nobody has passed yet.
INSERT INTO vector (space, call, embedder, parameter, vector) SELECT ?2, ?3, embedder, parameter, vector FROM vector
WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM vector WHERE call = ?3 AND space = ?2);
-- name: remove_vector  One of them.
DELETE FROM vector WHERE id = ?;
-- name: forget_vectors  The vectors of a call.
DELETE FROM vector WHERE call = ?;
-- name: forget_matches  What it was given, and what was given of it.
DELETE FROM likeness WHERE call = ?1 OR source = ?1;
-- name: append_matches  What a call was given is another's now,
UPDATE OR REPLACE likeness SET call = ?2 WHERE call = ?1;
-- name: append_sources  and so is what was given of it.
UPDATE likeness SET source = ?2 WHERE source = ?1;
