-- The statements by which a PostgreSQL store is kept. `memollm.` is written as the schema that the URL names.
-- All but counts and notes run while nobody draws: see `alone`.

-- name: alone  From here on nobody else draws or keeps, until the transaction ends.
SELECT pg_advisory_xact_lock($KEEPING, 0);
-- name: begin_epoch  Something was replaced or removed.
SELECT memollm.begin_epoch();
-- name: find_call  A call's number.
SELECT id FROM memollm.call WHERE key = %s AND form = %s;
-- name: find_reader  A reader's number.
SELECT id FROM memollm.reader WHERE name = %s;
-- name: bring_reader  A reader's number, which it is given if it has none.
SELECT memollm.number_of_reader(%s);
-- name: remove_call  A forgotten call, unless somebody is filling a slot of it at this moment, or has drawn from it.
DELETE FROM memollm.call WHERE id = %(id)s AND NOT EXISTS (SELECT 1 FROM memollm.slot WHERE call = %(id)s)
    AND NOT EXISTS (SELECT 1 FROM memollm.cursor WHERE call = %(id)s);
-- name: drawing  The readers that have positions of a call in flight.
SELECT DISTINCT reader FROM memollm.loose WHERE call = %s AND owner IS NOT NULL AND memollm.lives(owner, %s);
-- name: is_held  Whether somebody alive has positions of a call in flight, or is filling its slots.
SELECT EXISTS (SELECT 1 FROM memollm.loose WHERE call = %(id)s AND owner IS NOT NULL AND memollm.lives(owner, %(me)s))
    OR EXISTS (SELECT 1 FROM memollm.slot WHERE call = %(id)s AND owner IS NOT NULL AND memollm.lives(owner, %(me)s));
-- name: rewind_cursors  Back to the start of another sequence; what is in flight no longer belongs to the reader.
UPDATE memollm.cursor SET next = 0, generation = memollm.new_generation(), drawn = NULL WHERE reader = %s;
-- name: drop_cursors  As if the reader had never drawn.
DELETE FROM memollm.cursor WHERE reader = %s;
-- name: drop_loose  Positions in flight or given back do not outlive a rewind.
DELETE FROM memollm.loose WHERE reader = %s;
-- name: drop_recorded  A reader that is gone has no lanes.
DELETE FROM memollm.recorded WHERE recorder = %s;
-- name: reserve_again  A reader that begins anew passes over what is recorded for lanes.
SELECT memollm.reserve(call, reader, %(recorder)s, 0) FROM memollm.cursor WHERE reader = %(reader)s;
-- name: drop_drawn  Nor was it given anything.
DELETE FROM memollm.drawn WHERE reader = %s;
-- name: rewrite_sample  A record that is signed for its call is signed anew when it moves.
UPDATE memollm.slot SET record = %s WHERE call = %s AND slot = %s;
-- name: forget_samples  The samples of a call; who is filling a slot goes on.
WITH gone AS (DELETE FROM memollm.slot WHERE call = %(id)s AND owner IS NULL RETURNING record),
    kept AS (UPDATE memollm.slot SET record = NULL, stored = NULL WHERE call = %(id)s AND owner IS NOT NULL
        AND record IS NOT NULL RETURNING slot)
SELECT (SELECT count(record) FROM gone) + (SELECT count(*) FROM kept);
-- name: void_claims  Those who are dead fill nothing.
DELETE FROM memollm.slot WHERE call = %s AND owner IS NOT NULL AND NOT memollm.lives(owner, %s) AND record IS NULL;
-- name: forget_cursors  The cursors of a call.
DELETE FROM memollm.cursor WHERE call = %s;
-- name: forget_loose  The loose positions of a call.
DELETE FROM memollm.loose WHERE call = %s;
-- name: forget_recorded  What lanes got of a call.
DELETE FROM memollm.recorded WHERE call = %s;
-- name: forget_used  What runs used of a call.
DELETE FROM memollm.used WHERE call = %s;
-- name: forget_drawn  What runs were given of a call.
DELETE FROM memollm.drawn WHERE call = %s;
-- name: forget_replaced  What was replaced of a call.
DELETE FROM memollm.replaced WHERE call = %s;
-- name: end_sequence  A reader that is drawing a forgotten call is told that its sequence is no more.
INSERT INTO memollm.cursor (reader, call, next, generation) VALUES (%s, %s, 0, -memollm.new_generation());
-- name: unused  A forgotten call was not used.
UPDATE memollm.call SET used = 0 WHERE id = %s;
-- name: samples  Everything of a call.
SELECT slot, record, stored, seconds, input_tokens, output_tokens, cost, latency FROM memollm.slot
WHERE call = %s AND record IS NOT NULL ORDER BY slot;
-- name: move_call  Nothing is stored of the new call, so the old one becomes it.
UPDATE memollm.call SET key = %s, function = %s, form = %s, digest = sha256(convert_to(%s, 'UTF8')) WHERE id = %s;
-- name: end_of_call  The first position that no sample, no reader and no lane of a call has reached.
SELECT greatest(
    coalesce((SELECT max(slot) + 1 FROM memollm.slot WHERE call = %(id)s AND record IS NOT NULL), 0),
    coalesce((SELECT max(next) FROM memollm.cursor WHERE call = %(id)s), 0),
    coalesce((SELECT max(position) + 1 FROM memollm.recorded WHERE call = %(id)s), 0)
);
-- name: drop_void_slots  Slots that nobody fills any more.
DELETE FROM memollm.slot WHERE call = ANY (%s) AND record IS NULL;
-- name: append_samples  The samples of one call come after those of another.
UPDATE memollm.slot SET call = %(new)s, slot = slot + %(start)s, owner = NULL, ticket = NULL WHERE call = %(old)s;
-- name: append_loose  What was loose of one call is loose of the other.
UPDATE memollm.loose SET call = %(new)s, position = position + %(start)s, owner = NULL, ticket = NULL WHERE call = %(old)s;
-- name: append_used  So is what runs used,
WITH moved AS (DELETE FROM memollm.used WHERE call = %(old)s RETURNING run, first, last)
INSERT INTO memollm.used (run, call, first, last)
SELECT run, %(new)s, first + %(start)s, last + %(start)s FROM moved
ON CONFLICT (call, run, first) DO UPDATE SET last = greatest(used.last, excluded.last);
-- name: append_drawn  what they were given,
WITH moved AS (DELETE FROM memollm.drawn WHERE call = %(old)s RETURNING *)
INSERT INTO memollm.drawn (runner, reader, call, first, last, lane, at)
SELECT runner, reader, %(new)s, first + %(start)s, last + %(start)s, lane, at FROM moved
ON CONFLICT (call, runner, reader, first) DO UPDATE SET last = greatest(drawn.last, excluded.last);
-- name: append_replaced  what was replaced,
WITH moved AS (DELETE FROM memollm.replaced WHERE call = %(old)s RETURNING slot, stored, digest)
INSERT INTO memollm.replaced (call, slot, stored, digest)
SELECT %(new)s, slot + %(start)s, stored, digest FROM moved ON CONFLICT DO NOTHING;
-- name: append_recorded  and what lanes got.
UPDATE memollm.recorded SET call = %(new)s, position = position + %(start)s, nth = nth + (
    SELECT coalesce(max(nth) + 1, 0) FROM memollm.recorded WHERE call = %(new)s) WHERE call = %(old)s;
-- name: join_use  Two calls that became one were used when either was.
UPDATE memollm.call SET used = greatest(used, (SELECT used FROM memollm.call WHERE id = %(old)s)) WHERE id = %(new)s;
-- name: leave_rest  What a reader had not come to of the new call's own samples stays to be drawn.
INSERT INTO memollm.loose (reader, call, position)
SELECT moved.reader, %(new)s, at FROM memollm.cursor AS moved
LEFT JOIN memollm.cursor AS had ON had.reader = moved.reader AND had.call = %(new)s,
    LATERAL generate_series(coalesce(had.next, 0), %(start)s - 1) AS at
WHERE moved.call = %(old)s AND moved.reader NOT IN (SELECT id FROM memollm.reader WHERE starts_with(name, 'resume:'))
ON CONFLICT (call, reader, position) DO UPDATE SET owner = NULL, ticket = NULL;
-- name: join_cursors  A reader's place in a sequence that two were joined to.
INSERT INTO memollm.cursor (reader, call, next, generation)
SELECT reader, %(new)s, next + %(start)s, memollm.new_generation() FROM memollm.cursor WHERE call = %(old)s
ON CONFLICT (call, reader) DO UPDATE SET next = excluded.next, generation = excluded.generation, drawn = NULL;
-- name: last_used  When a call was last used.
SELECT greatest(used, (SELECT max(stored) FROM memollm.slot WHERE call = id)) FROM memollm.call WHERE id = %s;
-- name: remember_asked  What was done under an id; it is done once.
INSERT INTO memollm.asked (owner, id) VALUES (%s, %s) ON CONFLICT DO NOTHING;
-- name: charged  What a program with a budget has spent; nobody else charges it until the transaction ends.
INSERT INTO memollm.budget (program, at) VALUES (%s, %s) ON CONFLICT (program) DO UPDATE SET at = excluded.at
RETURNING calls, cost, foreseen, unpriced;
-- name: charge  It has spent so much now.
UPDATE memollm.budget SET calls = %s, cost = %s, foreseen = %s, unpriced = %s WHERE program = %s;
-- name: forget_programs  Programs end, and nobody is told.
DELETE FROM memollm.budget WHERE at < %s;
-- name: put_note  A document that was not there.
INSERT INTO memollm.catalog (kind, name, document) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING;
-- name: lock_note  The document that is there.
SELECT document FROM memollm.catalog WHERE kind = %s AND name = %s FOR UPDATE;
-- name: replace_note  Another one in its place.
UPDATE memollm.catalog SET document = %s WHERE kind = %s AND name = %s;
-- name: renumber  A call's number may have become another call's.
UPDATE memollm.about SET numbering = numbering + 1;
-- name: in_hand  What draws have in hand when nobody can say any more how they end counts as delivered.
DELETE FROM memollm.loose WHERE owner = %(me)s AND ticket = ANY (%(aloft)s) AND EXISTS (
    SELECT 1 FROM memollm.slot WHERE slot.call = loose.call AND slot.slot = loose.position AND record IS NOT NULL
        AND NOT (slot.owner IS NOT DISTINCT FROM %(me)s AND slot.ticket = loose.ticket));
-- name: leave  A process that closes the store is forgotten at once.
DELETE FROM memollm.owner WHERE id = %s;
