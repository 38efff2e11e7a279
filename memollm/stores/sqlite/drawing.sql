-- The statements by which a SQLite store draws. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: calls_of_key  Calls with this hash; their forms decide.
SELECT id, form FROM call WHERE key = ?;
-- name: add_call  A call is stored when it is first drawn.
INSERT INTO call (key, function, form, made) VALUES (?, ?, ?, ?);
-- name: find_reader  A reader's number.
SELECT id FROM reader WHERE name = ?;
-- name: add_reader  Readers get a number when they first draw.
INSERT INTO reader (name) VALUES (?);
-- name: glance  The hot path: the cursor and its generation, whether positions are loose, and the sample that the cursor points at.
SELECT cursor.next, cursor.generation, EXISTS (
        SELECT 1 FROM loose WHERE reader = ?1 AND call = ?2 AND NOT EXISTS (
            SELECT 1 FROM recorded
            WHERE recorded.recorder = ?4 AND recorded.call = ?2 AND recorded.position = loose.position)),
    sample.record, sample.stored, sample.seconds, sample.input_tokens, sample.output_tokens, sample.cost,
    sample.latency
FROM cursor LEFT JOIN sample ON sample.call = ?2 AND sample.slot = cursor.next % ?3
WHERE cursor.reader = ?1 AND cursor.call = ?2;
-- name: cursor  How many positions a reader has taken, of which sequence.
SELECT next, generation FROM cursor WHERE reader = ? AND call = ?;
-- name: advance  Take positions.
UPDATE cursor SET next = ?3 WHERE reader = ?1 AND call = ?2;
-- name: begin_cursor  A reader draws a call for the first time.
INSERT INTO cursor (reader, call, next, generation) VALUES (?, ?, ?, ?);
-- name: loose_positions  Positions given back or in flight that are no lane's, lowest first.
SELECT position, owner, ticket FROM loose WHERE reader = ?1 AND call = ?2 AND NOT EXISTS (
    SELECT 1 FROM recorded WHERE recorded.recorder = ?3 AND recorded.call = ?2 AND recorded.position = loose.position)
ORDER BY position;
-- name: hold_position  A position is in flight for a draw.
INSERT OR REPLACE INTO loose (reader, call, position, owner, ticket) VALUES (?, ?, ?, ?, ?);
-- name: begin_resuming  What a reader was given of a call is free for the one that resumes it.
WITH RECURSIVE passed (position) AS (SELECT 0 WHERE ?4 > 0 UNION ALL SELECT position + 1 FROM passed WHERE position + 1 < ?4)
INSERT INTO loose (reader, call, position) SELECT ?1, ?2, position FROM passed
WHERE NOT EXISTS (SELECT 1 FROM loose WHERE reader = ?3 AND call = ?2 AND loose.position = passed.position);
-- name: pass_over  A position that the cursor passes over is free: for its lane, if one's is recorded there.
INSERT OR REPLACE INTO loose (reader, call, position) VALUES (?, ?, ?);
-- name: deliver_position  A position that had been given back is delivered.
DELETE FROM loose WHERE reader = ? AND call = ? AND position = ?;
-- name: return_position  Free again, if it is still in flight for this draw: after a rewind it may be another's.
UPDATE loose SET owner = NULL, ticket = NULL
WHERE reader = ? AND call = ? AND position = ? AND owner = ? AND ticket = ?;
-- name: refuse_position  Given and not kept: the reader's lane goes on after it. No draw has the ticket 0.
UPDATE loose SET owner = NULL, ticket = 0
WHERE reader = ? AND call = ? AND position = ? AND owner = ? AND ticket = ?;
-- name: free_position  Delivered or refused and free again, unless the reader began anew and will come to it by itself.
INSERT INTO loose (reader, call, position) SELECT ?1, ?2, ?3
FROM cursor WHERE reader = ?1 AND call = ?2 AND next > ?3 AND generation = ?4
ON CONFLICT DO UPDATE SET ticket = NULL WHERE owner IS NULL;
-- name: return_ticket  Everything in flight for a draw is free again.
UPDATE loose SET owner = NULL, ticket = NULL WHERE owner = ? AND ticket = ?;
-- name: deliver_held  A position in flight for a draw is delivered.
DELETE FROM loose WHERE reader = ? AND call = ? AND position = ? AND owner = ? AND ticket = ?;
-- name: deliver_ticket  Everything in flight for a draw is delivered.
DELETE FROM loose WHERE owner = ? AND ticket = ?;
-- name: deliver_stored  So is what a draw has in hand when nobody can say any more how it ends: not what it is still making.
DELETE FROM loose WHERE owner = ?1 AND ticket = ?2
AND EXISTS (SELECT 1 FROM sample WHERE sample.call = loose.call AND sample.slot = loose.position)
AND NOT EXISTS (
    SELECT 1 FROM claim WHERE claim.call = loose.call AND claim.slot = loose.position AND owner = ?1 AND ticket = ?2);
-- name: first_touch  One look at a slot of a call that this process does not know yet.
SELECT call.form, sample.record, sample.stored, sample.seconds, sample.input_tokens, sample.output_tokens, sample.cost, sample.latency
FROM call JOIN sample ON sample.call = call.id AND sample.slot = ?2
WHERE call.key = ?1;
-- name: sample  One slot.
SELECT record, stored, seconds, input_tokens, output_tokens, cost, latency FROM sample WHERE call = ? AND slot = ?;
-- name: samples_between  A run of slots.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost, latency FROM sample
WHERE call = ? AND slot BETWEEN ? AND ? ORDER BY slot;
-- name: records_between  The samples of a run of slots that is known to be filled.
SELECT record, stored, seconds, input_tokens, output_tokens, cost, latency FROM sample
WHERE call = ? AND slot BETWEEN ? AND ? ORDER BY slot;
-- name: samples  Everything of a call.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost, latency FROM sample WHERE call = ? ORDER BY slot;
-- name: put_sample  A claimed slot takes its answer, replacing one that had expired.
INSERT OR REPLACE INTO sample (call, slot, record, stored, seconds, input_tokens, output_tokens, cost, latency) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: remember_replaced  What loses its slot is known by a digest, so that no file brings it back as new.
INSERT OR IGNORE INTO replaced (call, slot, stored, digest) VALUES (?, ?, ?, ?);
-- name: claim_of  Who is filling a slot.
SELECT owner, ticket FROM claim WHERE call = ? AND slot = ?;
-- name: claim  The slot is being filled.
INSERT OR REPLACE INTO claim (call, slot, owner, ticket) VALUES (?, ?, ?, ?);
-- name: end_claim  The slot is filled.
DELETE FROM claim WHERE call = ? AND slot = ? AND owner = ? AND ticket = ?;
-- name: end_claims  A draw is over.
DELETE FROM claim WHERE owner = ? AND ticket = ?;
-- name: add_owner  A process that is about to claim; its lock is held already.
INSERT INTO owner (name) VALUES (?);
-- name: add_owner_again  A process whose lock file was removed, and which others may have taken for dead.
INSERT OR IGNORE INTO owner (id, name) VALUES (?, ?);
-- name: owner_name  The lock file of an owner.
SELECT name FROM owner WHERE id = ?;
-- name: owners  All processes that have claimed and not left.
SELECT id, name FROM owner;
-- name: tickets_of  Every draw that an owner has something recorded for.
SELECT ticket FROM claim WHERE owner = ?1 UNION SELECT ticket FROM loose WHERE owner = ?1;
-- name: bury_owner  A dead owner is forgotten,
DELETE FROM owner WHERE id = ?;
-- name: bury_claims  its claims are void,
DELETE FROM claim WHERE owner = ?;
-- name: bury_loose  and its positions are free.
UPDATE loose SET owner = NULL, ticket = NULL WHERE owner = ?;
-- name: find_lane  A lane's number.
SELECT id FROM lane WHERE name = ?;
-- name: add_lane  Lanes get a number when they first draw.
INSERT INTO lane (name) VALUES (?);
-- name: end_of_lanes  The first position that no lane of a call has reached.
SELECT max(position) + 1 FROM recorded WHERE recorder = ? AND call = ?;
-- name: positions_of_lane  What of a lane's positions its reader has not been given, in the lane's order.
SELECT loose.position, loose.owner, loose.ticket
FROM loose JOIN recorded ON recorded.recorder = ?1 AND recorded.call = ?3 AND recorded.position = loose.position
WHERE loose.reader = ?2 AND loose.call = ?3 AND recorded.lane = ?4 AND loose.ticket IS NOT 0 ORDER BY recorded.nth;
-- name: record_lane  A position is a lane's from now on.
INSERT INTO recorded (recorder, call, position, lane, nth) VALUES (?1, ?2, ?3, ?4, coalesce(
    (SELECT max(nth) + 1 FROM recorded WHERE recorder = ?1 AND call = ?2 AND lane = ?4), 0));
