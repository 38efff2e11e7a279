-- The tables of a SQLite store. A line `-- name: x` begins the statement x; what follows on it says why.

-- name: schema  The tables, as the latest version has them. A change of them bumps `SCHEMA_VERSION` by a migration.
CREATE TABLE call (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL,
    function TEXT NOT NULL,
    form TEXT NOT NULL,
    made REAL NOT NULL,
    used REAL NOT NULL DEFAULT 0
);
CREATE INDEX call_by_key ON call (key);
CREATE INDEX call_by_function ON call (function);
CREATE TABLE sample (
    call INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    stored REAL NOT NULL,
    record BLOB NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL,
    latency REAL NOT NULL DEFAULT 0,
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
    generation INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (reader, call)
) WITHOUT ROWID;
CREATE INDEX cursor_by_call ON cursor (call);
CREATE TABLE owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL
);
-- A draw is settled by the rows that it is known to have, so that finding them by its ticket is rare and may be a scan.
CREATE TABLE claim (
    call INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    ticket INTEGER NOT NULL,
    PRIMARY KEY (call, slot)
) WITHOUT ROWID;
CREATE TABLE loose (
    reader INTEGER NOT NULL,
    call INTEGER NOT NULL,
    position INTEGER NOT NULL,
    owner INTEGER,
    ticket INTEGER,
    PRIMARY KEY (reader, call, position)
) WITHOUT ROWID;
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
    made INTEGER NOT NULL,
    paid INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unstored INTEGER NOT NULL,
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
    saved_unpriced INTEGER NOT NULL,
    PRIMARY KEY (day, run, namespace, function)
) WITHOUT ROWID;
CREATE TABLE budget (
    program TEXT PRIMARY KEY,
    at REAL NOT NULL,
    calls INTEGER NOT NULL,
    cost REAL NOT NULL,
    foreseen REAL NOT NULL,
    unpriced INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE used (
    run TEXT NOT NULL,
    call INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (run, call, first)
) WITHOUT ROWID;
CREATE INDEX used_by_call ON used (call);
CREATE TABLE drawn (
    runner INTEGER NOT NULL,
    reader INTEGER NOT NULL,
    call INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (runner, reader, call, first)
) WITHOUT ROWID;
CREATE INDEX drawn_by_call ON drawn (call);
CREATE TABLE replaced (
    call INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    stored REAL NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (call, slot, stored, digest)
) WITHOUT ROWID;
CREATE TABLE vector (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space BLOB NOT NULL,
    call INTEGER NOT NULL,
    embedder TEXT NOT NULL,
    parameter TEXT NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX vector_by_space ON vector (space);
CREATE INDEX vector_by_call ON vector (call);
CREATE TABLE likeness (
    call INTEGER NOT NULL,
    shadow INTEGER NOT NULL,
    source INTEGER NOT NULL,
    parameter TEXT NOT NULL,
    score REAL NOT NULL,
    rule TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (call, shadow)
) WITHOUT ROWID;
CREATE INDEX likeness_by_source ON likeness (source);
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
