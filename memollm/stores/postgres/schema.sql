-- The tables of a PostgreSQL store. `memollm.` is written as the schema that the URL names.

-- name: schema  The tables, as the latest version has them. A change of them bumps `SCHEMA_VERSION` by a migration.
CREATE SCHEMA IF NOT EXISTS memollm;
-- `numbering` changes when a call's number may have become another call's.
CREATE TABLE memollm.about (version integer NOT NULL, epoch bigint NOT NULL, numbering bigint NOT NULL);
INSERT INTO memollm.about VALUES (0, extract(epoch FROM clock_timestamp())::bigint - 1735689600, 1);
CREATE TABLE memollm.call (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL,
    function text NOT NULL COLLATE "C",
    form text NOT NULL COLLATE "C",
    digest bytea NOT NULL,
    made double precision NOT NULL,
    used double precision NOT NULL DEFAULT 0,
    UNIQUE (key, digest)
);
CREATE INDEX call_by_function ON memollm.call (function);
-- One row a slot: without a record while it is being filled for the first time, with an owner as long as it is.
CREATE TABLE memollm.slot (
    call bigint NOT NULL,
    slot bigint NOT NULL,
    stored double precision,
    seconds double precision NOT NULL DEFAULT 0,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cost double precision,
    latency double precision NOT NULL DEFAULT 0,
    owner integer,
    ticket bigint,
    is_waited_for boolean NOT NULL DEFAULT false,
    record bytea,
    PRIMARY KEY (call, slot)
);
CREATE TABLE memollm.reader (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL COLLATE "C" UNIQUE
);
-- `drawn` notes an owner, what it asked by, the position that it was given, and its number: see `draw` in drawing.sql.
CREATE TABLE memollm.cursor (
    reader integer NOT NULL,
    call bigint NOT NULL,
    next bigint NOT NULL,
    generation bigint NOT NULL,
    drawn bigint[],
    PRIMARY KEY (call, reader)
) WITH (fillfactor = 70);
CREATE INDEX cursor_by_reader ON memollm.cursor (reader);
-- A process that has the store open holds the advisory lock of its number, and loses it when it dies.
CREATE TABLE memollm.owner (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dead_since timestamptz
);
CREATE TABLE memollm.loose (
    reader integer NOT NULL,
    call bigint NOT NULL,
    position bigint NOT NULL,
    owner integer,
    ticket bigint,
    PRIMARY KEY (call, reader, position)
);
CREATE TABLE memollm.lane (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL COLLATE "C" UNIQUE
);
CREATE TABLE memollm.recorded (
    recorder integer NOT NULL,
    call bigint NOT NULL,
    position bigint NOT NULL,
    lane integer NOT NULL,
    nth bigint NOT NULL,
    PRIMARY KEY (call, recorder, position)
);
CREATE INDEX recorded_by_lane ON memollm.recorded (call, recorder, lane, nth);
-- What was asked and answered, for who asks again because the answer was lost on the way.
CREATE TABLE memollm.asked (
    owner integer NOT NULL,
    id bigint NOT NULL,
    answer jsonb,
    PRIMARY KEY (owner, id)
);
CREATE TABLE memollm.tally (
    day text NOT NULL COLLATE "C",
    run text NOT NULL COLLATE "C",
    namespace text NOT NULL COLLATE "C",
    function text NOT NULL COLLATE "C",
    draws bigint NOT NULL,
    hits bigint NOT NULL,
    shared bigint NOT NULL,
    made bigint NOT NULL,
    paid bigint NOT NULL,
    refused bigint NOT NULL,
    failed bigint NOT NULL,
    unstored bigint NOT NULL,
    unpriced bigint NOT NULL,
    timed bigint NOT NULL,
    timed_seconds double precision NOT NULL,
    spent_seconds double precision NOT NULL,
    spent_input bigint NOT NULL,
    spent_output bigint NOT NULL,
    spent_cost double precision NOT NULL,
    saved_seconds double precision NOT NULL,
    saved_input bigint NOT NULL,
    saved_output bigint NOT NULL,
    saved_cost double precision NOT NULL,
    saved_unpriced bigint NOT NULL,
    PRIMARY KEY (day, run, namespace, function)
);
-- What programs with a budget have spent.
CREATE TABLE memollm.budget (
    program text PRIMARY KEY COLLATE "C",
    at double precision NOT NULL,
    calls bigint NOT NULL DEFAULT 0,
    cost double precision NOT NULL DEFAULT 0,
    foreseen double precision NOT NULL DEFAULT 0,
    unpriced bigint NOT NULL DEFAULT 0
);
CREATE TABLE memollm.used (
    run text NOT NULL COLLATE "C",
    call bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (call, run, first)
);
-- What runs were given, as which reader and in which lane: 0 outside of lanes.
CREATE TABLE memollm.drawn (
    runner integer NOT NULL,
    reader integer NOT NULL,
    call bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    lane integer NOT NULL,
    at double precision NOT NULL,
    PRIMARY KEY (call, runner, reader, first)
);
CREATE INDEX drawn_by_reader ON memollm.drawn (reader);
CREATE INDEX drawn_by_runner ON memollm.drawn (runner);
CREATE TABLE memollm.replaced (
    call bigint NOT NULL,
    slot bigint NOT NULL,
    stored double precision NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (call, slot, stored, digest)
);
-- A vector's number says in which order they were stored; see `last_vector`.
CREATE TABLE memollm.vector (
    id bigint PRIMARY KEY,
    space bytea NOT NULL,
    call bigint NOT NULL,
    embedder text NOT NULL,
    parameter text NOT NULL,
    vector bytea NOT NULL,
    UNIQUE (call, space)
);
-- What looks like noise is not compressed.
ALTER TABLE memollm.vector ALTER vector SET STORAGE EXTERNAL;
CREATE INDEX vector_by_space ON memollm.vector (space, id);
CREATE TABLE memollm.likeness (
    call bigint NOT NULL,
    shadow boolean NOT NULL,
    source bigint NOT NULL,
    parameter text NOT NULL,
    score double precision NOT NULL,
    rule text NOT NULL,
    at double precision NOT NULL,
    PRIMARY KEY (call, shadow)
);
CREATE INDEX likeness_by_source ON memollm.likeness (source);
CREATE TABLE memollm.catalog (
    kind text NOT NULL COLLATE "C",
    name text NOT NULL COLLATE "C",
    document text NOT NULL,
    PRIMARY KEY (kind, name)
);
-- A step of what a process asks, and a row of what it is answered: see `perform` in drawing.sql.
CREATE TYPE memollm.step AS (
    k text, q integer, i integer, id bigint, z boolean, t bigint, c integer, r integer, n bigint, p bigint, l text,
    w double precision, f boolean, g bigint, b integer, s double precision, se double precision, ti bigint, "to" bigint,
    co double precision, la double precision, o text[], rf boolean, u boolean
);
CREATE TYPE memollm.answered AS (
    kind text, request integer, nth integer, at bigint, of_ticket bigint, of_generation bigint, body bytea,
    stored double precision, seconds double precision, input_tokens bigint, output_tokens bigint, cost double precision,
    latency double precision
);
CREATE TYPE memollm.done AS (answers memollm.answered[], remembered jsonb, has_changed boolean);
-- name: version  Which schema is there, if any.
SELECT version FROM memollm.about;
-- name: set_version  The schema is the latest now.
UPDATE memollm.about SET version = %s;
-- name: has_schema  Whether anything is there.
SELECT to_regclass('memollm.about') IS NOT NULL;
-- name: lock_schema  One process at a time makes or migrates it.
SELECT pg_advisory_lock($KEEPING, 2);
-- name: unlock_schema  The next one.
SELECT pg_advisory_unlock($KEEPING, 2);
