-- A tier's file: copies, and nothing that is not at the server. A line `-- name: x` begins the statement x.

-- name: schema  Any other one is removed with its file, since all of it can be had again.
CREATE TABLE copy (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    call BLOB NOT NULL,
    slot INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    digest BLOB NOT NULL,
    seal BLOB NOT NULL,
    stored REAL NOT NULL,
    seconds REAL NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost REAL,
    latency REAL NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (call, slot)
);
CREATE INDEX copy_by_call ON copy (call);
-- name: slots  Which slots of a call are here that came after some number.
SELECT id, slot FROM copy INDEXED BY copy_by_call WHERE call = ? AND id > ? ORDER BY id;
-- name: get  A copy.
SELECT digest, seal, epoch, record, stored, seconds, input_tokens, output_tokens, cost, latency FROM copy WHERE call = ? AND slot = ?;
-- name: put  A copy takes the place of another; it has a number of its own.
INSERT OR REPLACE INTO copy (call, slot, digest, seal, epoch, record, stored, seconds, input_tokens, output_tokens, cost, latency)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: renew  The server has it still, in this epoch.
UPDATE copy SET epoch = ? WHERE call = ? AND slot = ? AND digest = ?;
-- name: drop  It is none of the server's.
DELETE FROM copy WHERE call = ? AND slot = ?;
-- name: evict  The oldest tenth goes.
DELETE FROM copy WHERE id <= (SELECT id FROM copy ORDER BY id LIMIT 1 OFFSET (SELECT count(*) / 10 FROM copy));
-- name: count  How many there are.
SELECT count(*) FROM copy;
