-- What a machine knows of a log. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: tables  All of it can be read from the log again.
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
    call BLOB NOT NULL, sample BLOB NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (call, sample)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leader (call BLOB PRIMARY KEY, sample BLOB NOT NULL) WITHOUT ROWID;
-- name: about  A word about the log.
SELECT value FROM about WHERE name = ?;
-- name: say  So it is now.
INSERT OR REPLACE INTO about (name, value) VALUES (?, ?);
-- name: sent  What the log has of a call, and how often: equal answers of one moment are several samples.
SELECT sample, times FROM sent WHERE call = ?;
-- name: send  The log has it.
INSERT INTO sent (call, sample, times) VALUES (?, ?, ?)
ON CONFLICT (call, sample) DO UPDATE SET times = max(times, excluded.times);
-- name: leader  The sample that is the first of a call, for all who read the log.
SELECT sample FROM leader WHERE call = ?;
-- name: lead  It is this one now.
INSERT OR REPLACE INTO leader (call, sample) VALUES (?, ?);
-- name: forget_sent  Another log is read from its beginning,
DELETE FROM sent;
-- name: forget_leaders  and another order holds.
DELETE FROM leader;
