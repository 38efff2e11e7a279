-- Every statement that the SQLite store runs. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: schema_1  The tables, as the first version had them.
CREATE TABLE call (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL,
    function TEXT NOT NULL,
    form TEXT NOT NULL,
    made REAL NOT NULL
);
CREATE INDEX call_by_key ON call (key);
CREATE INDEX call_by_function ON call (function);
CREATE TABLE sample (
    call INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    stored REAL NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (call, slot)
);
CREATE TABLE reader (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE cursor (
    reader INTEGER NOT NULL,
    call INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (reader, call)
) WITHOUT ROWID;
CREATE INDEX cursor_by_call ON cursor (call);
CREATE TABLE owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL
);
CREATE TABLE claim (
    call INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    ticket INTEGER NOT NULL,
    PRIMARY KEY (call, slot)
) WITHOUT ROWID;
CREATE INDEX claim_by_ticket ON claim (owner, ticket);
CREATE TABLE loose (
    reader INTEGER NOT NULL,
    call INTEGER NOT NULL,
    position INTEGER NOT NULL,
    owner INTEGER,
    ticket INTEGER,
    PRIMARY KEY (reader, call, position)
) WITHOUT ROWID;
CREATE INDEX loose_by_ticket ON loose (owner, ticket);
CREATE TABLE catalog_function (key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE catalog_namespace (key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE catalog_run (key TEXT PRIMARY KEY, value BLOB);

CREATE VIEW answer AS
WITH part AS (
    SELECT call, slot, CAST(substr(record, 1, 2) AS TEXT) AS form, length(record) AS size,
        substr(record, CASE CAST(substr(record, 1, 2) AS TEXT) WHEN 'C1' THEN 55 ELSE 13 END) AS rest
    FROM sample
)
SELECT call, slot, form,
    CASE WHEN form IN ('J1', 'T1', 'C1')
        THEN CAST(substr(rest, 1, coalesce(nullif(instr(rest, x'0a'), 0) - 1, size)) AS TEXT)
        ELSE '(' || size || ' bytes)'
    END AS value
FROM part;

-- name: schema_2  What the second version added: what samples cost, when calls were used, lanes, and what was counted.
-- A new file goes through every version. A further change adds a further one, and bumps `SCHEMA_VERSION`.
-- A draw is settled by the rows that it is known to have, so that finding them by its ticket is rare and may be a scan.
DROP INDEX claim_by_ticket;
DROP INDEX loose_by_ticket;
ALTER TABLE call ADD COLUMN used REAL NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN input_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sample ADD COLUMN cost REAL;
CREATE TABLE lane (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE recorded (
    recorder INTEGER NOT NULL,
    call INTEGER NOT NULL,
    position INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    nth INTEGER NOT NULL,
    PRIMARY KEY (recorder, call, position)
) WITHOUT ROWID;
CREATE INDEX recorded_by_lane ON recorded (recorder, call, lane, nth);
CREATE INDEX recorded_by_call ON recorded (call);
CREATE TABLE tally (
    day TEXT NOT NULL,
    run TEXT NOT NULL,
    namespace TEXT NOT NULL,
    function TEXT NOT NULL,
    draws INTEGER NOT NULL,
    hits INTEGER NOT NULL,
    shared INTEGER NOT NULL,
    paid INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    timed INTEGER NOT NULL,
    timed_seconds REAL NOT NULL,
    spent_seconds REAL NOT NULL,
    spent_input INTEGER NOT NULL,
    spent_output INTEGER NOT NULL,
    spent_cost REAL NOT NULL,
    saved_seconds REAL NOT NULL,
    saved_input INTEGER NOT NULL,
    saved_output INTEGER NOT NULL,
    saved_cost REAL NOT NULL,
    PRIMARY KEY (day, run, namespace, function)
) WITHOUT ROWID;
CREATE TABLE used (
    run TEXT NOT NULL,
    call INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (run, call, first)
) WITHOUT ROWID;
CREATE INDEX used_by_call ON used (call);

-- name: schema_1_as_2  For who may only read: a file of the first version looks like one of the second.
CREATE TEMP VIEW call AS SELECT *, 0 AS used FROM main.call;
CREATE TEMP VIEW sample AS
SELECT *, 0.0 AS seconds, 0 AS input_tokens, 0 AS output_tokens, NULL AS cost FROM main.sample;
CREATE TEMP TABLE lane (id, name);
CREATE TEMP TABLE recorded (recorder, call, position, lane, nth);
CREATE TEMP TABLE tally (day, run, namespace, function);
CREATE TEMP TABLE used (run, call, first, last);

-- name: calls_of_key  Calls with this hash; their forms decide.
SELECT id, form FROM call WHERE key = ?;
-- name: add_call  A call is stored when it is first drawn.
INSERT INTO call (key, function, form, made) VALUES (?, ?, ?, ?);
-- name: remove_call  A forgotten call, unless somebody is filling a slot of it at this moment.
DELETE FROM call WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM claim WHERE call = ?1);

-- name: find_reader  A reader's number.
SELECT id FROM reader WHERE name = ?;
-- name: add_reader  Readers get a number when they first draw.
INSERT INTO reader (name) VALUES (?);
-- name: list_readers  Readers with what they have drawn and not given back.
SELECT name, count(cursor.call), sum(cursor.next) - (SELECT count(*) FROM loose WHERE loose.reader = reader.id)
FROM reader JOIN cursor ON cursor.reader = reader.id GROUP BY reader.id ORDER BY name;
-- name: rewind_cursors  Back to the start; what is in flight no longer belongs to the reader.
UPDATE cursor SET next = 0 WHERE reader = ?;
-- name: drop_cursors  As if the reader had never drawn.
DELETE FROM cursor WHERE reader = ?;
-- name: drop_loose  Positions in flight or given back do not outlive a rewind.
DELETE FROM loose WHERE reader = ?;

-- name: glance  The hot path: the cursor, whether positions are loose, and the sample that the cursor points at.
SELECT cursor.next, EXISTS (
        SELECT 1 FROM loose WHERE reader = ?1 AND call = ?2 AND NOT EXISTS (
            SELECT 1 FROM recorded
            WHERE recorded.recorder = ?4 AND recorded.call = ?2 AND recorded.position = loose.position)),
    sample.record, sample.stored, sample.seconds, sample.input_tokens, sample.output_tokens, sample.cost
FROM cursor LEFT JOIN sample ON sample.call = ?2 AND sample.slot = cursor.next % ?3
WHERE cursor.reader = ?1 AND cursor.call = ?2;
-- name: cursor  How many positions a reader has taken.
SELECT next FROM cursor WHERE reader = ? AND call = ?;
-- name: advance  Take positions.
UPDATE cursor SET next = ?3 WHERE reader = ?1 AND call = ?2;
-- name: begin_cursor  A reader draws a call for the first time.
INSERT INTO cursor (reader, call, next) VALUES (?, ?, ?);
-- name: loose_positions  Positions given back or in flight that are no lane's, lowest first.
SELECT position, owner, ticket FROM loose WHERE reader = ?1 AND call = ?2 AND NOT EXISTS (
    SELECT 1 FROM recorded WHERE recorded.recorder = ?3 AND recorded.call = ?2 AND recorded.position = loose.position)
ORDER BY position;
-- name: hold_position  A position is in flight for a draw.
INSERT OR REPLACE INTO loose (reader, call, position, owner, ticket) VALUES (?, ?, ?, ?, ?);
-- name: pass_over  A position that the cursor passes over is free: for its lane, if one's is recorded there.
INSERT OR REPLACE INTO loose (reader, call, position) VALUES (?, ?, ?);
-- name: deliver_position  A position that had been given back is delivered.
DELETE FROM loose WHERE reader = ? AND call = ? AND position = ?;
-- name: return_position  Free again, if it is still in flight for this draw: after a rewind it may be another's.
UPDATE loose SET owner = NULL, ticket = NULL
WHERE reader = ? AND call = ? AND position = ? AND owner = ? AND ticket = ?;
-- name: free_position  Delivered and free again, unless the reader was rewound and will come to it by itself.
INSERT OR IGNORE INTO loose (reader, call, position) SELECT ?1, ?2, ?3
FROM cursor WHERE reader = ?1 AND call = ?2 AND next > ?3;
-- name: return_ticket  Everything in flight for a draw is free again.
UPDATE loose SET owner = NULL, ticket = NULL WHERE owner = ? AND ticket = ?;
-- name: deliver_held  A position in flight for a draw is delivered.
DELETE FROM loose WHERE reader = ? AND call = ? AND position = ? AND owner = ? AND ticket = ?;
-- name: deliver_ticket  Everything in flight for a draw is delivered.
DELETE FROM loose WHERE owner = ? AND ticket = ?;

-- name: first_touch  One look at a slot of a call that this process does not know yet.
SELECT call.form, sample.record, sample.stored, sample.seconds, sample.input_tokens, sample.output_tokens, sample.cost
FROM call JOIN sample ON sample.call = call.id AND sample.slot = ?2
WHERE call.key = ?1;
-- name: sample  One slot.
SELECT record, stored, seconds, input_tokens, output_tokens, cost FROM sample WHERE call = ? AND slot = ?;
-- name: samples_between  A run of slots.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost FROM sample
WHERE call = ? AND slot BETWEEN ? AND ? ORDER BY slot;
-- name: samples  Everything of a call.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost FROM sample WHERE call = ? ORDER BY slot;
-- name: rewrite_sample  A record that is signed for its call is signed anew when it moves.
UPDATE sample SET record = ? WHERE call = ? AND slot = ?;
-- name: put_sample  A claimed slot takes its answer, replacing one that had expired.
INSERT OR REPLACE INTO sample (call, slot, record, stored, seconds, input_tokens, output_tokens, cost) VALUES (?, ?, ?, ?, ?, ?, ?, ?);
-- name: has_sample  Whether a slot has ever been filled.
SELECT EXISTS (SELECT 1 FROM sample WHERE call = ? AND slot = ?);
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

-- name: notes_function  The catalog of functions, for who may only read; or the one document of a name.
SELECT key, value FROM catalog_function WHERE ?1 IS NULL OR key = ?1 ORDER BY key;
-- name: notes_namespace  The catalog of namespaces.
SELECT key, value FROM catalog_namespace WHERE ?1 IS NULL OR key = ?1 ORDER BY key;
-- name: notes_run  The catalog of runs.
SELECT key, value FROM catalog_run WHERE ?1 IS NULL OR key = ?1 ORDER BY key;

-- name: calls_of_function  What is stored of a function.
SELECT call.key, call.form, call.function, (SELECT count(*) FROM sample WHERE sample.call = call.id)
FROM call WHERE function = ? ORDER BY call.id;
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
SELECT reader, next,
    coalesce((SELECT other.next FROM cursor AS other WHERE other.reader = cursor.reader AND other.call = ?2), 0)
FROM cursor WHERE call = ?1;
-- name: end_of_record  A number past those of all that lanes got of a call.
SELECT coalesce(max(nth) + 1, 0) FROM recorded WHERE call = ?;
-- name: append_recorded  What lanes got of one call comes after what they got of the other.
UPDATE recorded SET call = ?2, position = position + ?3, nth = nth + ?4 WHERE call = ?1;
-- name: append_used  So does what runs used.
UPDATE OR REPLACE used SET call = ?2, first = first + ?3, last = last + ?3 WHERE call = ?1;
-- name: join_use  Two calls that became one were used when either was.
UPDATE call SET used = max(used, (SELECT used FROM call WHERE id = ?1)) WHERE id = ?2;
-- name: append_loose  What was loose of one call is loose of the other.
UPDATE loose SET call = ?2, position = position + ?3, owner = NULL, ticket = NULL WHERE call = ?1;
-- name: set_cursor  A reader's place in the joined sequence.
INSERT OR REPLACE INTO cursor (reader, call, next) VALUES (?, ?, ?);

-- name: claim_of  Who is filling a slot.
SELECT owner, ticket FROM claim WHERE call = ? AND slot = ?;
-- name: claimant  Who is filling a slot of a call, for a look from outside.
SELECT call.form, owner.name, claim.ticket FROM call JOIN claim ON claim.call = call.id JOIN owner ON owner.id = claim.owner
WHERE call.key = ? AND claim.slot = ?;
-- name: claim  The slot is being filled.
INSERT OR REPLACE INTO claim (call, slot, owner, ticket) VALUES (?, ?, ?, ?);
-- name: end_claim  The slot is filled.
DELETE FROM claim WHERE call = ? AND slot = ? AND owner = ? AND ticket = ?;
-- name: end_claims  A draw is over.
DELETE FROM claim WHERE owner = ? AND ticket = ?;

-- name: add_owner  A process that is about to claim; its lock is held already.
INSERT INTO owner (name) VALUES (?);
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
-- name: recorded_calls  The calls in which a reader has a cursor and lanes are recorded.
SELECT call FROM cursor WHERE reader = ?1 AND EXISTS (
    SELECT 1 FROM recorded WHERE recorder = ?2 AND recorded.call = cursor.call
);
-- name: positions_of_lane  What of a lane's positions its reader has not been given, in the lane's order.
SELECT loose.position, loose.owner, loose.ticket
FROM loose JOIN recorded ON recorded.recorder = ?1 AND recorded.call = ?3 AND recorded.position = loose.position
WHERE loose.reader = ?2 AND loose.call = ?3 AND recorded.lane = ?4 ORDER BY recorded.nth;
-- name: record_lane  A position is a lane's from now on.
INSERT INTO recorded (recorder, call, position, lane, nth) VALUES (?1, ?2, ?3, ?4, coalesce(
    (SELECT max(nth) + 1 FROM recorded WHERE recorder = ?1 AND call = ?2 AND lane = ?4), 0));
-- name: drop_recorded  A reader that is gone has no lanes.
DELETE FROM recorded WHERE recorder = ?;
-- name: samples_of  A run of slots of a call that is known by its hash and form.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost FROM sample
WHERE call = (SELECT id FROM call WHERE key = ? AND form = ?) AND slot BETWEEN ? AND ? ORDER BY slot;
-- name: standing  Where a reader stands in a call: its cursor, what of the positions before it was not given, and lanes' own.
SELECT 'next', next, NULL FROM cursor
WHERE reader = (SELECT id FROM reader WHERE name = ?1) AND call = (SELECT id FROM call WHERE key = ?3 AND form = ?4)
UNION ALL SELECT 'loose', position, NULL FROM loose
WHERE reader = (SELECT id FROM reader WHERE name = ?1) AND call = (SELECT id FROM call WHERE key = ?3 AND form = ?4)
UNION ALL SELECT * FROM (
    SELECT 'lane', position, name FROM recorded JOIN lane ON lane.id = recorded.lane
    WHERE recorder = (SELECT id FROM reader WHERE name = ?2) AND call = (SELECT id FROM call WHERE key = ?3 AND form = ?4)
    ORDER BY nth);

-- name: count_up  What was counted adds up.
INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, run, namespace, function) DO UPDATE SET
    draws = draws + excluded.draws, hits = hits + excluded.hits, shared = shared + excluded.shared,
    paid = paid + excluded.paid, refused = refused + excluded.refused, failed = failed + excluded.failed,
    unpriced = unpriced + excluded.unpriced, timed = timed + excluded.timed,
    timed_seconds = timed_seconds + excluded.timed_seconds, spent_seconds = spent_seconds + excluded.spent_seconds,
    spent_input = spent_input + excluded.spent_input, spent_output = spent_output + excluded.spent_output,
    spent_cost = spent_cost + excluded.spent_cost, saved_seconds = saved_seconds + excluded.saved_seconds,
    saved_input = saved_input + excluded.saved_input, saved_output = saved_output + excluded.saved_output,
    saved_cost = saved_cost + excluded.saved_cost;
-- name: counted  Everything that was counted.
SELECT * FROM tally ORDER BY day, run, namespace, function;
-- name: touch  A call was used, which counts for what is evicted first.
UPDATE call SET used = max(used, ?) WHERE id = ?;
-- name: touching_uses  How far the stretches reach that a run has used before and a new one touches.
SELECT min(first), max(last) FROM used WHERE run = ?1 AND call = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1;
-- name: remove_touching_uses  One stretch takes their place.
DELETE FROM used WHERE run = ?1 AND call = ?2 AND first <= ?4 + 1 AND last >= ?3 - 1;
-- name: add_use  A run used a stretch of slots.
INSERT INTO used (run, call, first, last) VALUES (?, ?, ?, ?);
-- name: inventory  Every call that has samples: how large it is, when its first one was made and when it was last used.
SELECT call.id, call.function, count(*), sum(length(sample.record)) + length(CAST(call.form AS BLOB)),
    min(sample.stored), max(call.used, max(sample.stored))
FROM call JOIN sample ON sample.call = call.id GROUP BY call.id;
-- name: last_used  When a call was last used.
SELECT max(used, coalesce((SELECT max(stored) FROM sample WHERE call = ?1), 0)) FROM call WHERE id = ?1;
-- name: survey  Every call that has samples, or those of a function, and what its samples are and took together.
SELECT call.key, call.form, call.function, count(*), sum(length(sample.record)) + length(CAST(call.form AS BLOB)),
    min(sample.stored), max(call.used, max(sample.stored)), sum(sample.seconds), sum(sample.input_tokens), sum(sample.output_tokens),
    sum(sample.cost)
FROM call JOIN sample ON sample.call = call.id WHERE ?1 IS NULL OR call.function = ?1 GROUP BY call.id;
-- name: readers_of  Readers of a call with what they have drawn of it and not given back, once for each of their lanes.
SELECT DISTINCT reader.name,
    cursor.next - (SELECT count(*) FROM loose WHERE loose.reader = reader.id AND loose.call = ?1), lane.name
FROM cursor JOIN reader ON reader.id = cursor.reader
LEFT JOIN reader AS recorder ON recorder.name = CASE WHEN reader.name GLOB 'run:*' THEN 'run:' ELSE reader.name END
LEFT JOIN recorded ON recorded.recorder = recorder.id AND recorded.call = ?1
    AND recorded.position < cursor.next AND NOT EXISTS (
        SELECT 1 FROM loose WHERE loose.reader = reader.id AND loose.call = ?1 AND loose.position = recorded.position)
LEFT JOIN lane ON lane.id = recorded.lane
WHERE cursor.call = ?1 ORDER BY reader.name, lane.name;
-- name: holders  Who has positions of a call in flight, or is filling its slots.
SELECT owner, ticket FROM loose WHERE call = ?1 AND owner IS NOT NULL
UNION SELECT owner, ticket FROM claim WHERE call = ?1;
