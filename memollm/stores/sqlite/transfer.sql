-- The statements by which content is moved between caches.

-- name: entries  Every call, in the order of an export file.
SELECT id, key, form, function, min(max(coalesce(CAST(made AS REAL), 0), 0), 253370764799) FROM call
WHERE typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
ORDER BY function, form, key;
-- name: entries_of_function  The calls of a function.
SELECT id, key, form, function, min(max(coalesce(CAST(made AS REAL), 0), 0), 253370764799) FROM call
WHERE function = ? AND typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text'
ORDER BY form, key;
-- name: entries_of_reader  The calls that a reader has drawn from, or that a run used besides.
SELECT id, key, form, function, min(max(coalesce(CAST(made AS REAL), 0), 0), 253370764799) FROM call
WHERE typeof(call.key) = 'blob' AND typeof(call.form) = 'text' AND typeof(call.function) = 'text' AND id IN (
    SELECT cursor.call FROM cursor JOIN reader ON reader.id = cursor.reader WHERE reader.name = ?1
    UNION SELECT used.call FROM used WHERE used.run = ?2
) ORDER BY function, form, key;
-- name: size  How many samples there are; SQLite counts a whole table in one step, which nothing could interrupt.
SELECT count(*) FROM sample WHERE slot >= 0;
-- name: size_of_function  How many of a function.
SELECT count(*) FROM sample WHERE call IN (SELECT id FROM call WHERE function = ?);
-- name: size_of_reader  How many of the calls that a reader has drawn from, or that a run used besides.
SELECT count(*) FROM sample WHERE call IN (
    SELECT cursor.call FROM cursor JOIN reader ON reader.id = cursor.reader WHERE reader.name = ?1
    UNION SELECT used.call FROM used WHERE used.run = ?2
);
-- name: cursors_with_readers  The readers of a call.
SELECT reader.id, CAST(reader.name AS TEXT), CAST(cursor.next AS INTEGER) FROM cursor JOIN reader ON reader.id = cursor.reader
WHERE cursor.call = ? ORDER BY reader.name;
-- name: not_given  Positions that a reader has come to and was not given; in flight with a filled slot, it may be at any moment.
SELECT CAST(position AS INTEGER) FROM loose WHERE reader = ?1 AND call = ?2 AND (
    owner IS NULL OR NOT EXISTS (SELECT 1 FROM sample WHERE sample.call = ?2 AND sample.slot = loose.position)
) ORDER BY position;
-- name: lanes  What lanes were given of a call.
SELECT CAST(reader.name AS TEXT), CAST(lane.name AS TEXT), CAST(recorded.position AS INTEGER)
FROM recorded JOIN reader ON reader.id = recorded.recorder JOIN lane ON lane.id = recorded.lane
WHERE recorded.call = ? ORDER BY reader.name, lane.name, recorded.nth;
-- name: replaced  What was replaced of a call, by slot and moment.
SELECT slot, CAST(stored AS REAL), digest FROM replaced WHERE call = ? AND typeof(slot) = 'integer' AND typeof(digest) = 'blob'
    AND slot BETWEEN 0 AND 1099511627775 AND stored BETWEEN 0 AND 253370764799 AND length(digest) = 16
ORDER BY slot, stored, digest;
-- name: stretches  What runs used of a call.
SELECT CAST(run AS TEXT), CAST(first AS INTEGER), CAST(last AS INTEGER) FROM used WHERE call = ? ORDER BY run, first;

-- name: bring_call  A call that comes from elsewhere; it counts as used now.
INSERT INTO call (key, function, form, made, used) VALUES (?, ?, ?, ?, ?);
-- name: size_of_call  How many samples a call has.
SELECT count(*) FROM sample WHERE call = ?;
-- name: reached  The first slot that no sample, no claim and no lane of a call has reached.
SELECT 1 + max(
    coalesce((SELECT max(slot) FROM sample WHERE call = ?1), -1),
    coalesce((SELECT max(slot) FROM claim WHERE call = ?1), -1),
    coalesce((SELECT max(position) FROM recorded WHERE call = ?1), -1)
);
-- name: free_for  The positions that a reader was not given and nobody has in flight.
SELECT position FROM loose WHERE reader = ? AND call = ? AND owner IS NULL;
-- name: bring_lane  A lane that comes from elsewhere.
INSERT OR IGNORE INTO lane (name) VALUES (?);
-- name: bring_recorded  A position is a lane's, unless it is one's already.
INSERT OR IGNORE INTO recorded (recorder, call, position, lane, nth)
SELECT ?1, ?2, ?3, lane.id, coalesce(
    (SELECT max(nth) + 1 FROM recorded WHERE recorder = ?1 AND call = ?2 AND lane = lane.id), 0)
FROM lane WHERE lane.name = ?4;

-- name: has_place  Whether any reader or lane has come to a slot of a call.
SELECT EXISTS (SELECT 1 FROM cursor WHERE call = ?1) OR EXISTS (SELECT 1 FROM recorded WHERE call = ?1);
-- name: move_slot  A sample takes another slot.
UPDATE sample SET slot = ?3 WHERE call = ?1 AND slot = ?2;
-- name: move_use  What runs used of a slot alone is where it is now,
UPDATE OR REPLACE used SET first = ?3, last = ?3 WHERE call = ?1 AND first = ?2 AND last = ?2;
-- name: move_drawn  and what they were given of it.
UPDATE OR REPLACE drawn SET first = ?3, last = ?3 WHERE call = ?1 AND first = ?2 AND last = ?2;
-- name: newest  A number that grows with every sample that is stored, as long as none is removed.
SELECT coalesce(max(rowid), 0) FROM sample;
-- name: calls_ever  How many calls the file has ever had: fewer than before, and it is another file.
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'call';
