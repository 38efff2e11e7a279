-- Every statement that the SQLite store runs. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: schema  The tables; a change here bumps `schema_version` in sqlite.py and brings a migration.
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
-- name: reader_is_used  A reader without cursors is only a number.
SELECT EXISTS (SELECT 1 FROM cursor WHERE reader = ?);
-- name: rewind_cursors  Back to the start; what is in flight no longer belongs to the reader.
UPDATE cursor SET next = 0 WHERE reader = ?;
-- name: drop_cursors  As if the reader had never drawn.
DELETE FROM cursor WHERE reader = ?;
-- name: drop_loose  Positions in flight or given back do not outlive a rewind.
DELETE FROM loose WHERE reader = ?;

-- name: glance  The hot path: the cursor, whether positions are loose, and the sample that the cursor points at.
SELECT cursor.next, EXISTS (SELECT 1 FROM loose WHERE reader = ?1 AND call = ?2), sample.stored, sample.record
FROM cursor LEFT JOIN sample ON sample.call = ?2 AND sample.slot = cursor.next % ?3
WHERE cursor.reader = ?1 AND cursor.call = ?2;
-- name: cursor  How many positions a reader has taken.
SELECT next FROM cursor WHERE reader = ? AND call = ?;
-- name: advance  Take positions.
UPDATE cursor SET next = ?3 WHERE reader = ?1 AND call = ?2;
-- name: begin_cursor  A reader draws a call for the first time.
INSERT INTO cursor (reader, call, next) VALUES (?, ?, ?);
-- name: loose_positions  Positions given back or in flight, lowest first.
SELECT position, owner, ticket FROM loose WHERE reader = ? AND call = ? ORDER BY position;
-- name: hold_position  A position is in flight for a draw.
INSERT OR REPLACE INTO loose (reader, call, position, owner, ticket) VALUES (?, ?, ?, ?, ?);
-- name: deliver_position  A position that had been given back is delivered.
DELETE FROM loose WHERE reader = ? AND call = ? AND position = ?;
-- name: return_position  Free again, if it is still in flight for this draw: after a rewind it may be another's.
UPDATE loose SET owner = NULL, ticket = NULL
WHERE reader = ? AND call = ? AND position = ? AND owner = ? AND ticket = ?;
-- name: free_position  Delivered and free again, unless the reader was rewound and will come to it by itself.
INSERT OR IGNORE INTO loose (reader, call, position, owner, ticket)
SELECT ?1, ?2, ?3, NULL, NULL FROM cursor WHERE reader = ?1 AND call = ?2 AND next > ?3;
-- name: return_ticket  Everything in flight for a draw is free again.
UPDATE loose SET owner = NULL, ticket = NULL WHERE owner = ? AND ticket = ?;
-- name: deliver_ticket  Everything in flight for a draw is delivered.
DELETE FROM loose WHERE owner = ? AND ticket = ?;

-- name: first_touch  One look at a slot of a call that this process does not know yet.
SELECT call.id, call.form, sample.stored, sample.record
FROM call LEFT JOIN sample ON sample.call = call.id AND sample.slot = ?2
WHERE call.key = ?1;
-- name: sample  One slot.
SELECT stored, record FROM sample WHERE call = ? AND slot = ?;
-- name: samples_between  A run of slots.
SELECT slot, stored, record FROM sample WHERE call = ? AND slot BETWEEN ? AND ? ORDER BY slot;
-- name: samples  Everything of a call.
SELECT slot, stored, record FROM sample WHERE call = ? ORDER BY slot;
-- name: rewrite_sample  A record that is signed for its call is signed anew when it moves.
UPDATE sample SET record = ? WHERE call = ? AND slot = ?;
-- name: put_sample  A claimed slot takes its answer, replacing one that had expired.
INSERT OR REPLACE INTO sample (call, slot, stored, record) VALUES (?, ?, ?, ?);
-- name: has_sample  Whether a slot has ever been filled.
SELECT EXISTS (SELECT 1 FROM sample WHERE call = ? AND slot = ?);
-- name: forget_samples  The samples of a call.
DELETE FROM sample WHERE call = ?;
-- name: forget_cursors  The cursors of a call.
DELETE FROM cursor WHERE call = ?;
-- name: forget_loose  The loose positions of a call.
DELETE FROM loose WHERE call = ?;

-- name: calls_of_function  What is stored of a function.
SELECT call.key, call.form, call.function, (SELECT count(*) FROM sample WHERE sample.call = call.id)
FROM call WHERE function = ? ORDER BY call.id;
-- name: move_call  Nothing is stored of the new call, so the old one becomes it.
UPDATE call SET key = ?, function = ?, form = ? WHERE id = ?;
-- name: claimants  Who is filling slots of a call.
SELECT owner, ticket FROM claim WHERE call = ?;
-- name: end_of_call  The first position that no sample, no claim and no reader of a call has reached.
SELECT max(
    coalesce((SELECT max(slot) + 1 FROM sample WHERE call = ?1), 0),
    coalesce((SELECT max(next) FROM cursor WHERE call = ?1), 0)
);
-- name: append_samples  The samples of one call come after those of another.
UPDATE sample SET call = ?2, slot = slot + ?3 WHERE call = ?1;
-- name: cursors_of_call  Readers of a call, and how far each has come in it and in another.
SELECT reader, next, coalesce((SELECT other.next FROM cursor AS other
                               WHERE other.reader = cursor.reader AND other.call = ?2), 0)
FROM cursor WHERE call = ?1;
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
