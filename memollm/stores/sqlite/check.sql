-- The statements by which a cache is checked and repaired.
-- What an `orphan_` or `absurd_` statement counts is what a repair deletes: it makes a DELETE of it.

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
-- name: orphan_drawn  What was given of a call, or to a reader, that is not there.
SELECT count(*) FROM drawn WHERE call NOT IN (SELECT id FROM call)
    OR runner NOT IN (SELECT id FROM reader) OR reader NOT IN (SELECT id FROM reader);
-- name: orphan_replaced  What was replaced of a call that is not there.
SELECT count(*) FROM replaced WHERE call NOT IN (SELECT id FROM call);
-- name: orphan_vector  Vectors of a call that is not there.
SELECT count(*) FROM vector WHERE call NOT IN (SELECT id FROM call);
-- name: orphan_likeness  Matches of a call, or with one, that is not there.
SELECT count(*) FROM likeness WHERE call NOT IN (SELECT id FROM call) OR source NOT IN (SELECT id FROM call);

-- name: absurd_cursor  Cursors that are no numbers, or farther than anybody draws.
SELECT count(*) FROM cursor WHERE
    typeof(next) <> 'integer' OR typeof(generation) <> 'integer' OR next NOT BETWEEN 0 AND 1099511627776;
-- name: absurd_loose  The same of positions.
SELECT count(*) FROM loose WHERE
    typeof(position) <> 'integer' OR typeof(owner) NOT IN ('integer', 'null')
    OR typeof(ticket) NOT IN ('integer', 'null') OR position NOT BETWEEN 0 AND 1099511627776;
-- name: absurd_claim  The same of claims.
SELECT count(*) FROM claim WHERE
    typeof(slot) <> 'integer' OR typeof(owner) <> 'integer' OR typeof(ticket) <> 'integer'
    OR slot NOT BETWEEN 0 AND 1099511627776;
-- name: absurd_recorded  The same of what lanes were given; they do not go as far.
SELECT count(*) FROM recorded WHERE
    typeof(position) <> 'integer' OR typeof(nth) <> 'integer' OR position NOT BETWEEN 0 AND 16777215;
-- name: absurd_used  What runs used that are no numbers.
SELECT count(*) FROM used WHERE
    typeof(run) <> 'text' OR typeof(first) <> 'integer' OR typeof(last) <> 'integer'
    OR first NOT BETWEEN 0 AND 1099511627776 OR last NOT BETWEEN first AND 1099511627776;
-- name: absurd_drawn  The same of what they were given.
SELECT count(*) FROM drawn WHERE
    typeof(first) <> 'integer' OR typeof(last) <> 'integer' OR typeof(lane) <> 'integer' OR typeof(at) <> 'real'
    OR first NOT BETWEEN 0 AND 1099511627776 OR last NOT BETWEEN first AND 1099511627776
    OR at NOT BETWEEN 0 AND 253370764799;
-- name: absurd_replaced  Digests that are none.
SELECT count(*) FROM replaced WHERE
    typeof(slot) <> 'integer' OR typeof(stored) NOT IN ('real', 'integer') OR typeof(digest) <> 'blob';
-- name: absurd_vector  Vectors that are none.
SELECT count(*) FROM vector WHERE
    typeof(space) <> 'blob' OR typeof(call) <> 'integer' OR typeof(embedder) <> 'text' OR typeof(parameter) <> 'text'
    OR typeof(vector) <> 'blob' OR length(vector) = 0 OR length(vector) % 4 <> 0;
-- name: absurd_likeness  Scores that are none.
SELECT count(*) FROM likeness WHERE
    shadow NOT IN (0, 1) OR typeof(parameter) <> 'text' OR typeof(rule) <> 'text' OR typeof(score) <> 'real'
    OR score NOT BETWEEN -1.01 AND 1.01 OR typeof(at) <> 'real' OR at NOT BETWEEN 0 AND 253370764799;
-- name: absurd_reader  Names that are no texts.
SELECT count(*) FROM reader WHERE
    typeof(name) <> 'text';
-- name: absurd_lane  The same of lanes.
SELECT count(*) FROM lane WHERE
    typeof(name) <> 'text';
-- name: absurd_tally  Counts that are no numbers.
SELECT count(*) FROM tally WHERE
    typeof(day) <> 'text' OR typeof(run) <> 'text' OR typeof(namespace) <> 'text'
    OR typeof(function) <> 'text' OR typeof(draws) <> 'integer' OR draws NOT BETWEEN 0 AND 1099511627776
    OR typeof(hits) <> 'integer' OR hits NOT BETWEEN 0 AND 1099511627776
    OR typeof(shared) <> 'integer' OR shared NOT BETWEEN 0 AND 1099511627776
    OR typeof(made) <> 'integer' OR made NOT BETWEEN 0 AND 1099511627776
    OR typeof(paid) <> 'integer' OR paid NOT BETWEEN 0 AND 1099511627776
    OR typeof(refused) <> 'integer' OR refused NOT BETWEEN 0 AND 1099511627776
    OR typeof(failed) <> 'integer' OR failed NOT BETWEEN 0 AND 1099511627776
    OR typeof(unstored) <> 'integer' OR unstored NOT BETWEEN 0 AND 1099511627776
    OR typeof(unpriced) <> 'integer' OR unpriced NOT BETWEEN 0 AND 1099511627776
    OR typeof(timed) <> 'integer' OR timed NOT BETWEEN 0 AND 1099511627776
    OR typeof(spent_input) <> 'integer' OR spent_input NOT BETWEEN 0 AND 1099511627776
    OR typeof(spent_output) <> 'integer' OR spent_output NOT BETWEEN 0 AND 1099511627776
    OR typeof(saved_input) <> 'integer' OR saved_input NOT BETWEEN 0 AND 1099511627776
    OR typeof(saved_output) <> 'integer' OR saved_output NOT BETWEEN 0 AND 1099511627776
    OR typeof(saved_unpriced) <> 'integer' OR saved_unpriced NOT BETWEEN 0 AND 1099511627776
    OR typeof(timed_seconds) NOT IN ('real', 'integer') OR typeof(spent_seconds) NOT IN ('real', 'integer')
    OR typeof(spent_cost) NOT IN ('real', 'integer') OR typeof(saved_seconds) NOT IN ('real', 'integer')
    OR typeof(saved_cost) NOT IN ('real', 'integer');
-- name: absurd_call  Times that are none.
SELECT count(*) FROM call WHERE
    typeof(made) NOT IN ('real', 'integer') OR typeof(used) NOT IN ('real', 'integer')
    OR made NOT BETWEEN 0 AND 253370764799 OR used NOT BETWEEN 0 AND 253370764799;
-- name: mend_absurd_call  Its samples stay, and when they were made.
UPDATE call SET used = 0,
    made = coalesce((SELECT min(stored) FROM sample WHERE sample.call = call.id AND typeof(stored) IN ('real', 'integer')
        AND stored BETWEEN 0 AND 253370764799), 0)
WHERE
    typeof(made) NOT IN ('real', 'integer') OR typeof(used) NOT IN ('real', 'integer')
    OR made NOT BETWEEN 0 AND 253370764799 OR used NOT BETWEEN 0 AND 253370764799;

-- name: abandoned_samples  Samples of a call that is not there, to be kept aside.
SELECT call, slot, record, stored, seconds, input_tokens, output_tokens, cost, latency
FROM sample WHERE call NOT IN (SELECT id FROM call) ORDER BY call, slot;
-- name: count_cursors  How many cursors there are.
SELECT count(*) FROM cursor WHERE next >= 0;
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
