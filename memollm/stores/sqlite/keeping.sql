-- The statements by which a SQLite store is kept. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: remove_call  A forgotten call, unless somebody is filling a slot of it at this moment, or has drawn from it.
DELETE FROM call WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM claim WHERE call = ?1)
    AND NOT EXISTS (SELECT 1 FROM cursor WHERE call = ?1);
-- name: in_flight  The positions of a call that are in flight, or were when their process died.
SELECT reader, owner, ticket FROM loose WHERE call = ?1 AND owner IS NOT NULL;
-- name: rewind_cursors  Back to the start of another sequence; what is in flight no longer belongs to the reader.
UPDATE cursor SET next = 0, generation = ?2 WHERE reader = ?1;
-- name: drop_cursors  As if the reader had never drawn.
DELETE FROM cursor WHERE reader = ?;
-- name: drop_loose  Positions in flight or given back do not outlive a rewind.
DELETE FROM loose WHERE reader = ?;
-- name: rewrite_sample  A record that is signed for its call is signed anew when it moves.
UPDATE sample SET record = ? WHERE call = ? AND slot = ?;
-- name: forget_samples  The samples of a call.
DELETE FROM sample WHERE call = ?;
-- name: forget_cursors  The cursors of a call.
DELETE FROM cursor WHERE call = ?;
-- name: forget_loose  The loose positions of a call.
DELETE FROM loose WHERE call = ?;
-- name: forget_recorded  What lanes got of a call.
DELETE FROM recorded WHERE call = ?;
-- name: forget_used  What runs used of a call.
DELETE FROM used WHERE call = ?;
-- name: forget_drawn  What runs were given of a call.
DELETE FROM drawn WHERE call = ?;
-- name: forget_replaced  What was replaced of a call.
DELETE FROM replaced WHERE call = ?;
-- name: move_call  Nothing is stored of the new call, so the old one becomes it.
UPDATE call SET key = ?, function = ?, form = ? WHERE id = ?;
-- name: end_of_call  The first position that no sample, no reader and no lane of a call has reached.
SELECT max(
    coalesce((SELECT max(slot) + 1 FROM sample WHERE call = ?1), 0),
    coalesce((SELECT max(next) FROM cursor WHERE call = ?1), 0),
    coalesce((SELECT max(position) + 1 FROM recorded WHERE call = ?1), 0)
);
-- name: append_samples  The samples of one call come after those of another.
UPDATE sample SET call = ?2, slot = slot + ?3 WHERE call = ?1;
-- name: cursors_of_call  Readers of a call, and how far each has come in it and in another.
SELECT reader, CAST(reader.name AS TEXT), next,
    coalesce((SELECT other.next FROM cursor AS other WHERE other.reader = cursor.reader AND other.call = ?2), 0)
FROM cursor JOIN reader ON reader.id = cursor.reader WHERE call = ?1;
-- name: end_of_record  A number past those of all that lanes got of a call.
SELECT coalesce(max(nth) + 1, 0) FROM recorded WHERE call = ?;
-- name: append_recorded  What lanes got of one call comes after what they got of the other.
UPDATE recorded SET call = ?2, position = position + ?3, nth = nth + ?4 WHERE call = ?1;
-- name: append_used  So does what runs used.
INSERT INTO used (run, call, first, last) SELECT run, ?2, first + ?3, last + ?3 FROM used WHERE call = ?1
ON CONFLICT DO UPDATE SET last = max(last, excluded.last);
-- name: append_drawn  And what they were given.
UPDATE OR REPLACE drawn SET call = ?2, first = first + ?3, last = last + ?3 WHERE call = ?1;
-- name: append_replaced  And what was replaced.
UPDATE OR REPLACE replaced SET call = ?2, slot = slot + ?3 WHERE call = ?1;
-- name: join_use  Two calls that became one were used when either was.
UPDATE call SET used = max(used, (SELECT used FROM call WHERE id = ?1)) WHERE id = ?2;
-- name: append_loose  What was loose of one call is loose of the other.
UPDATE loose SET call = ?2, position = position + ?3, owner = NULL, ticket = NULL WHERE call = ?1;
-- name: set_cursor  How far a reader has come.
INSERT INTO cursor (reader, call, next, generation) VALUES (?, ?, ?, ?)
ON CONFLICT (reader, call) DO UPDATE SET next = excluded.next;
-- name: join_cursor  A reader's place in a sequence that two were joined to.
INSERT OR REPLACE INTO cursor (reader, call, next, generation) VALUES (?, ?, ?, ?);
-- name: recorded_calls  The calls in which a reader has a cursor and lanes are recorded.
SELECT call FROM cursor WHERE reader = ?1 AND EXISTS (
    SELECT 1 FROM recorded WHERE recorder = ?2 AND recorded.call = cursor.call
);
-- name: drop_drawn  Nor was it given anything.
DELETE FROM drawn WHERE reader = ?;
-- name: drop_recorded  A reader that is gone has no lanes.
DELETE FROM recorded WHERE recorder = ?;
-- name: count_up  What was counted adds up.
INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, run, namespace, function) DO UPDATE SET
    draws = draws + excluded.draws, hits = hits + excluded.hits, shared = shared + excluded.shared,
    made = made + excluded.made, paid = paid + excluded.paid, refused = refused + excluded.refused,
    failed = failed + excluded.failed, unstored = unstored + excluded.unstored,
    unpriced = unpriced + excluded.unpriced, timed = timed + excluded.timed,
    timed_seconds = timed_seconds + excluded.timed_seconds, spent_seconds = spent_seconds + excluded.spent_seconds,
    spent_input = spent_input + excluded.spent_input, spent_output = spent_output + excluded.spent_output,
    spent_cost = spent_cost + excluded.spent_cost, saved_seconds = saved_seconds + excluded.saved_seconds,
    saved_input = saved_input + excluded.saved_input, saved_output = saved_output + excluded.saved_output,
    saved_cost = saved_cost + excluded.saved_cost, saved_unpriced = saved_unpriced + excluded.saved_unpriced;
-- name: charged  What a program with a budget has spent.
SELECT CAST(calls AS INTEGER), CAST(cost AS REAL), CAST(foreseen AS REAL), CAST(unpriced AS INTEGER)
FROM budget WHERE program = ?;
-- name: charge  It has spent so much now.
INSERT OR REPLACE INTO budget (program, at, calls, cost, foreseen, unpriced) VALUES (?, ?, ?, ?, ?, ?);
-- name: forget_programs  Programs end, and nobody is told.
DELETE FROM budget WHERE at < ?;
-- name: touch  A call was used, which counts for what is evicted first.
UPDATE call SET used = max(used, ?) WHERE id = ?;
-- name: touching_uses  How far the stretches reach that a run has used before and a new one touches.
SELECT min(first), max(last) FROM used WHERE run = ?1 AND call = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1;
-- name: remove_touching_uses  One stretch takes their place.
DELETE FROM used WHERE run = ?1 AND call = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1;
-- name: add_use  A run used a stretch of slots.
INSERT INTO used (run, call, first, last) VALUES (?, ?, ?, ?);
-- name: add_drawn  A run was given a stretch of slots, as whom and in which lane; what it was given before stays in its place.
INSERT INTO drawn (runner, reader, call, first, last, lane, at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (runner, reader, call, first) DO UPDATE SET last = max(last, excluded.last);
-- name: last_used  When a call was last used.
SELECT max(used, coalesce((SELECT max(stored) FROM sample WHERE call = ?1), 0)) FROM call WHERE id = ?1;
-- name: holders  Who has positions of a call in flight, or is filling its slots.
SELECT owner, ticket FROM loose WHERE call = ?1 AND owner IS NOT NULL
UNION SELECT owner, ticket FROM claim WHERE call = ?1;
