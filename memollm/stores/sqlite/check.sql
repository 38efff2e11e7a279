-- The statements by which a cache is checked and repaired.

-- name: orphan_sample  Samples of a call that is not there.
SELECT count(*) FROM sample WHERE call NOT IN (SELECT id FROM call);
-- name: orphan_cursor  Cursors of a call or a reader that is not there.
SELECT count(*) FROM cursor WHERE call NOT IN (SELECT id FROM call) OR reader NOT IN (SELECT id FROM reader);
-- name: orphan_loose  Positions without their cursor, which nobody would draw or settle.
SELECT count(*) FROM loose WHERE NOT EXISTS (
    SELECT 1 FROM cursor WHERE cursor.reader = loose.reader AND cursor.call = loose.call);
-- name: orphan_claim  Claims of a call or an owner that is not there.
SELECT count(*) FROM claim WHERE call NOT IN (SELECT id FROM call) OR owner NOT IN (SELECT id FROM owner);
-- name: orphan_recorded  What is recorded of a call, for a lane or under a name that is not there.
SELECT count(*) FROM recorded WHERE call NOT IN (SELECT id FROM call)
    OR recorder NOT IN (SELECT id FROM reader) OR lane NOT IN (SELECT id FROM lane);
-- name: orphan_used  What runs used of a call that is not there.
SELECT count(*) FROM used WHERE call NOT IN (SELECT id FROM call);
-- name: orphan_replaced  What was replaced of a call that is not there.
SELECT count(*) FROM replaced WHERE call NOT IN (SELECT id FROM call);

-- name: drop_orphan_sample  They go; each was kept aside.
DELETE FROM sample WHERE call NOT IN (SELECT id FROM call);
-- name: drop_orphan_cursor  They go.
DELETE FROM cursor WHERE call NOT IN (SELECT id FROM call) OR reader NOT IN (SELECT id FROM reader);
-- name: drop_orphan_loose  They go.
DELETE FROM loose WHERE NOT EXISTS (
    SELECT 1 FROM cursor WHERE cursor.reader = loose.reader AND cursor.call = loose.call);
-- name: drop_orphan_claim  They go.
DELETE FROM claim WHERE call NOT IN (SELECT id FROM call) OR owner NOT IN (SELECT id FROM owner);
-- name: drop_orphan_recorded  They go.
DELETE FROM recorded WHERE call NOT IN (SELECT id FROM call)
    OR recorder NOT IN (SELECT id FROM reader) OR lane NOT IN (SELECT id FROM lane);
-- name: drop_orphan_used  They go.
DELETE FROM used WHERE call NOT IN (SELECT id FROM call);
-- name: drop_orphan_replaced  They go.
DELETE FROM replaced WHERE call NOT IN (SELECT id FROM call);

-- name: abandoned_samples  Samples of a call that is not there, to be kept aside.
SELECT call, slot, record, stored, seconds, input_tokens, output_tokens, cost
FROM sample WHERE call NOT IN (SELECT id FROM call) ORDER BY call, slot;
-- name: count_cursors  How many cursors there are.
SELECT count(*) FROM cursor;
-- name: cursors_ahead  Cursors past every sample of their call, as those of pools are.
SELECT count(*) FROM cursor WHERE next > coalesce((SELECT max(slot) + 1 FROM sample WHERE sample.call = cursor.call), 0);
-- name: remove_sample  A sample that was kept aside.
DELETE FROM sample WHERE call = ? AND slot = ?;
-- name: remove_checked_call  A call that was kept aside.
DELETE FROM call WHERE id = ?;
-- name: every_call  Every call, in the order of storing.
SELECT id, key, form, function, made FROM call NOT INDEXED ORDER BY id;
-- name: remove_note_function  A document that is none.
DELETE FROM catalog_function WHERE key = ?;
-- name: remove_note_namespace  The same.
DELETE FROM catalog_namespace WHERE key = ?;
-- name: remove_note_run  The same.
DELETE FROM catalog_run WHERE key = ?;
