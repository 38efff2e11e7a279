-- The statements by which a PostgreSQL store is looked into. `memollm.` is written as the schema that the URL names.

-- name: samples_of  A run of slots of a call that is known by its hash and form.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost, latency FROM memollm.slot
WHERE call = (SELECT id FROM memollm.call WHERE key = %s AND form = %s) AND record IS NOT NULL
    AND (%s::bigint[] IS NULL OR slot = ANY (%s::bigint[]))
ORDER BY slot;
-- name: list_readers  Readers with what they have drawn and not given back.
SELECT name, count(cursor.call), sum(cursor.next)::bigint
    - (SELECT count(*) FROM memollm.loose JOIN memollm.cursor AS its USING (reader, call) WHERE loose.reader = reader.id)
FROM memollm.reader JOIN memollm.cursor ON cursor.reader = reader.id GROUP BY reader.id, name ORDER BY name;
-- name: notes  Documents of the catalog.
SELECT name, document FROM memollm.catalog WHERE kind = %s AND (%s::text IS NULL OR name = %s) ORDER BY name;
-- name: calls_of_function  What is stored of a function.
SELECT key, form, function, (SELECT count(*) FROM memollm.slot WHERE slot.call = call.id AND record IS NOT NULL)
FROM memollm.call WHERE function = %s ORDER BY id;
-- name: standing  Where a reader stands in a call: its cursor, what of the positions before it was not given, lanes' own.
WITH this AS (SELECT id FROM memollm.call WHERE key = %(key)s AND form = %(form)s),
    who AS (SELECT id FROM memollm.reader WHERE name = %(reader)s),
    whose AS (SELECT id FROM memollm.reader WHERE name = %(recorder)s)
SELECT 1, next, NULL::text, 0::bigint AS nth FROM memollm.cursor
WHERE reader = (SELECT id FROM who) AND call = (SELECT id FROM this)
UNION ALL SELECT 2, position, NULL, 0 FROM memollm.loose
WHERE reader = (SELECT id FROM who) AND call = (SELECT id FROM this)
UNION ALL SELECT 3, position, name, nth FROM memollm.recorded JOIN memollm.lane ON lane.id = recorded.lane
WHERE recorder = (SELECT id FROM whose) AND call = (SELECT id FROM this)
ORDER BY 1, 4, 2;
-- name: counted  Everything that was counted.
SELECT * FROM memollm.tally ORDER BY day, run, namespace, function;
-- name: inventory  Every call that has samples: how large it is, when its first one was made and when it was last used.
SELECT call.id, call.function, count(*), sum(memollm.size_of(slot.record)) + octet_length(call.form),
    min(slot.stored), greatest(call.used, max(slot.stored))
FROM memollm.call JOIN memollm.slot ON slot.call = call.id WHERE slot.record IS NOT NULL GROUP BY call.id;
-- name: survey  Every call that has samples, or those of a function, and what its samples are and took together.
SELECT call.key, call.form, call.function, count(*), sum(memollm.size_of(slot.record)) + octet_length(call.form),
    min(slot.stored), greatest(call.used, max(slot.stored)), sum(slot.seconds),
    sum(slot.input_tokens)::bigint, sum(slot.output_tokens)::bigint, sum(slot.cost)
FROM memollm.call JOIN memollm.slot ON slot.call = call.id
WHERE slot.record IS NOT NULL AND (%s::text IS NULL OR call.function = %s) GROUP BY call.id ORDER BY call.id;
-- name: readers_of  Readers of a call with what they have drawn of it and not given back, once for each of their lanes.
WITH this AS (SELECT id FROM memollm.call WHERE key = %s AND form = %s)
SELECT reader.name,
    cursor.next - (SELECT count(*) FROM memollm.loose WHERE loose.reader = reader.id AND loose.call = cursor.call), lane.name
FROM memollm.cursor JOIN memollm.reader ON reader.id = cursor.reader
LEFT JOIN memollm.reader AS recorder
    ON recorder.name = CASE WHEN reader.name LIKE 'run:%%' THEN 'run:' ELSE reader.name END
LEFT JOIN LATERAL (
    SELECT DISTINCT recorded.lane FROM memollm.recorded
    WHERE recorded.recorder = recorder.id AND recorded.call = cursor.call AND recorded.position < cursor.next
        AND NOT EXISTS (SELECT 1 FROM memollm.loose WHERE loose.reader = reader.id AND loose.call = cursor.call
            AND loose.position = recorded.position)
) AS given ON true
LEFT JOIN memollm.lane ON lane.id = given.lane
WHERE cursor.call = (SELECT id FROM this) ORDER BY reader.name, lane.name;
-- name: transcript  What was given of a run, as a reader and in a lane, or in any, in the order of asking.
SELECT runner.name, reader.name, coalesce(lane.name, ''), call.key, call.form, call.function, drawn.first, drawn.last, drawn.at
FROM memollm.drawn JOIN memollm.reader AS runner ON runner.id = drawn.runner
JOIN memollm.reader ON reader.id = drawn.reader JOIN memollm.call ON call.id = drawn.call
LEFT JOIN memollm.lane ON lane.id = drawn.lane
WHERE (%(runner)s::text IS NULL OR runner.name = %(runner)s) AND (%(reader)s::text IS NULL OR reader.name = %(reader)s)
    AND (%(lane)s::text IS NULL OR coalesce(lane.name, '') = %(lane)s)
ORDER BY drawn.at, drawn.first;
-- name: claims  Every slot that somebody alive is filling.
SELECT call.key, call.form, call.function, slot.slot FROM memollm.slot JOIN memollm.call ON call.id = slot.call
WHERE slot.owner IN (
    SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $OWNERS_OID AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY slot.call, slot.slot;
-- name: claimants  Who is filling slots, and a mark that somebody waits for each.
SELECT nth, owner, ticket FROM memollm.wait_for(%s, %s, %s, %s);
-- name: epoch  How often something was replaced or removed.
SELECT epoch FROM memollm.about;
-- name: identity  By which this cache is told from any other, and from itself restored, cloned or failed over.
SELECT sha256(concat_ws(' ', 'memollm.about'::regclass::oid, (SELECT oid FROM pg_database WHERE datname = current_database()),
    extract(epoch FROM pg_postmaster_start_time()))::bytea);
-- name: hear_epoch  This process goes by an epoch.
SELECT pg_advisory_lock_shared($EPOCHS, %s);
-- name: leave_epoch  And no longer by another.
SELECT pg_advisory_unlock_shared($EPOCHS, %s);
-- name: behind  Who goes by an epoch that is over.
SELECT min(objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $EPOCHS_OID AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objid::bigint < %s;
-- name: outlast  Wait for those who go by it.
SELECT pg_advisory_xact_lock($EPOCHS, %s);
-- name: new_owner  A process that opens the store.
INSERT INTO memollm.owner DEFAULT VALUES RETURNING id;
-- name: end_ghost  A session of it that the server does not know to be dead yet, after its network was cut, is ended,
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $OWNERS_OID AND granted
    AND mode = 'ExclusiveLock' AND objid::bigint = %s AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
-- name: own  It holds this lock as long as it lives,
SELECT pg_advisory_lock($OWNERS, %s);
-- name: owner_is_back  and is known as alive.
INSERT INTO memollm.owner (id, dead_since) OVERRIDING SYSTEM VALUE VALUES (%s, NULL) ON CONFLICT (id) DO UPDATE SET dead_since = NULL;
-- name: bar  What comes late by connections that were given up is not done, once these locks are held; who still does
-- something of it holds one.
SELECT each, pg_try_advisory_lock($CONNECTIONS, each) FROM unnest(%s::integer[]) AS each;
-- name: unbar  What is older than many others that were given up comes no more.
SELECT pg_advisory_unlock($CONNECTIONS, each) FROM unnest(%s::integer[]) AS each;
-- name: end_late  Nobody waits for what these sessions do.
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $CONNECTIONS_OID AND granted
    AND objid::bigint = ANY (%s) AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
-- name: find_dead  Owners that are seen to be dead are forgotten an hour later: one that lost its connection may be back.
UPDATE memollm.owner SET dead_since = now() WHERE dead_since IS NULL AND id NOT IN (
    SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $OWNERS_OID AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
-- name: long_dead  Those of whom nothing is remembered any more.
DELETE FROM memollm.owner WHERE dead_since < now() - interval '1 hour' RETURNING id;
-- name: bury_asked  What they were answered,
DELETE FROM memollm.asked WHERE owner = ANY (%s);
-- name: bury_loose  had in flight,
UPDATE memollm.loose SET owner = NULL, ticket = NULL WHERE owner = ANY (%s);
-- name: bury_new  were filling,
DELETE FROM memollm.slot WHERE owner = ANY (%s) AND record IS NULL;
-- name: bury_claims  or filling anew.
UPDATE memollm.slot SET owner = NULL, ticket = NULL WHERE owner = ANY (%s);
