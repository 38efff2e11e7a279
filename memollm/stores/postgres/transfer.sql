-- The statements by which content is moved between caches. `memollm.` is written as the schema that the URL names.

-- name: snapshot  What is read is what was there now.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
-- name: entries  Every call, in the order of an export file.
SELECT id, key, form, function, made FROM memollm.call ORDER BY function, form, key;
-- name: entries_of_function  The calls of a function.
SELECT id, key, form, function, made FROM memollm.call WHERE function = %s ORDER BY form, key;
-- name: entries_of_reader  The calls that a reader has drawn from, or that a run used besides.
SELECT id, key, form, function, made FROM memollm.call WHERE id IN (
    SELECT cursor.call FROM memollm.cursor JOIN memollm.reader ON reader.id = cursor.reader WHERE reader.name = %s
    UNION SELECT used.call FROM memollm.used WHERE used.run = %s
) ORDER BY function, form, key;
-- name: size  How many samples there are.
SELECT count(*) FROM memollm.slot WHERE record IS NOT NULL;
-- name: size_of_function  How many of a function.
SELECT count(*) FROM memollm.slot WHERE record IS NOT NULL AND call IN (SELECT id FROM memollm.call WHERE function = %s);
-- name: size_of_reader  How many of the calls that a reader has drawn from, or that a run used besides.
SELECT count(*) FROM memollm.slot WHERE record IS NOT NULL AND call IN (
    SELECT cursor.call FROM memollm.cursor JOIN memollm.reader ON reader.id = cursor.reader WHERE reader.name = %s
    UNION SELECT used.call FROM memollm.used WHERE used.run = %s
);
-- name: has_dead  Whether anything in flight is of processes that are dead.
SELECT EXISTS (SELECT 1 FROM (SELECT DISTINCT owner FROM memollm.loose WHERE owner IS NOT NULL) AS these
    WHERE NOT memollm.lives(owner, %s));
-- name: void_dead  It is free, also if one of them was taken for dead only: what a copy says is free is given to others.
UPDATE memollm.loose SET owner = NULL, ticket = NULL WHERE owner IN (
    SELECT owner FROM (SELECT DISTINCT owner FROM memollm.loose WHERE owner IS NOT NULL) AS these
    WHERE NOT memollm.lives(owner, %s));
-- name: cursors_of  The readers of a call, each with the positions that it has come to and was not given: what is in flight
-- counts as given where its slot is filled, as it may be at any moment. Who lives is not asked: a standby does not know.
SELECT reader.name, cursor.next, ARRAY(
    SELECT position FROM memollm.loose WHERE loose.reader = cursor.reader AND loose.call = cursor.call AND (
        owner IS NULL OR NOT EXISTS (SELECT 1 FROM memollm.slot
            WHERE slot.call = loose.call AND slot.slot = loose.position AND record IS NOT NULL)
    ) ORDER BY position)
FROM memollm.cursor JOIN memollm.reader ON reader.id = cursor.reader WHERE cursor.call = %s ORDER BY reader.name;
-- name: lanes  What lanes were given of a call.
SELECT reader.name, lane.name, recorded.position
FROM memollm.recorded JOIN memollm.reader ON reader.id = recorded.recorder JOIN memollm.lane ON lane.id = recorded.lane
WHERE recorded.call = %s ORDER BY reader.name, lane.name, recorded.nth;
-- name: replaced  What was replaced of a call, by slot and moment.
SELECT slot, stored, digest FROM memollm.replaced WHERE call = %s ORDER BY slot, stored, digest;
-- name: remember_replaced  A sample that another took the slot of, elsewhere.
INSERT INTO memollm.replaced (call, slot, stored, digest) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING;
-- name: stretches  What runs used of a call.
SELECT run, first, last FROM memollm.used WHERE call = %s ORDER BY run, first;

-- name: bring_call  A call that comes from elsewhere; it counts as used now.
INSERT INTO memollm.call (key, function, form, digest, made, used)
VALUES (%s, %s, %s, sha256(convert_to(%s, 'UTF8')), %s, %s) RETURNING id;
-- name: size_of_call  How many samples a call has.
SELECT count(*) FROM memollm.slot WHERE call = %s AND record IS NOT NULL;
-- name: sample  One slot.
SELECT record, stored, seconds, input_tokens, output_tokens, cost, latency FROM memollm.slot
WHERE call = %s AND slot = %s AND record IS NOT NULL;
-- name: claim_of  Whether somebody alive is filling a slot.
SELECT EXISTS (SELECT 1 FROM memollm.slot WHERE call = %s AND slot = %s AND owner IS NOT NULL
    AND memollm.lives(owner, %s));
-- name: reached  The first slot that no sample, no claim and no lane of a call has reached.
SELECT 1 + greatest(
    coalesce((SELECT max(slot) FROM memollm.slot WHERE call = %(id)s), -1),
    coalesce((SELECT max(position) FROM memollm.recorded WHERE call = %(id)s), -1)
);
-- name: put_sample  A vacant slot is filled.
INSERT INTO memollm.slot (call, slot, record, stored, seconds, input_tokens, output_tokens, cost, latency)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (call, slot) DO UPDATE SET record = excluded.record, stored = excluded.stored, seconds = excluded.seconds,
    input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens, cost = excluded.cost,
    latency = excluded.latency;
-- name: bring_recorded  A position is a lane's, unless it is one's already.
INSERT INTO memollm.recorded (recorder, call, position, lane, nth)
SELECT %(recorder)s, %(call)s, %(at)s, this.id, coalesce((
    SELECT max(nth) + 1 FROM memollm.recorded WHERE recorder = %(recorder)s AND call = %(call)s AND lane = this.id), 0)
FROM (SELECT memollm.number_of_lane(%(lane)s) AS id) AS this ON CONFLICT DO NOTHING;
-- name: cursor_of  How far a reader has come.
SELECT next FROM memollm.cursor WHERE reader = %s AND call = %s;
-- name: free_for  The positions that a reader was not given and nobody has in flight.
SELECT position FROM memollm.loose WHERE reader = %s AND call = %s AND (owner IS NULL OR NOT memollm.lives(owner, %s));
-- name: set_cursor  How far a reader has come.
INSERT INTO memollm.cursor (reader, call, next, generation) VALUES (%s, %s, %s, memollm.new_generation())
ON CONFLICT (call, reader) DO UPDATE SET next = excluded.next;
-- name: deliver  A position that had been given back is delivered.
DELETE FROM memollm.loose WHERE reader = %s AND call = %s AND position = ANY (%s);
-- name: pass_over  A position that the cursor passes over is free: for its lane, if one's is recorded there.
INSERT INTO memollm.loose (reader, call, position) SELECT %s, %s, at FROM unnest(%s::bigint[]) AS at
ON CONFLICT (call, reader, position) DO UPDATE SET owner = NULL, ticket = NULL;
