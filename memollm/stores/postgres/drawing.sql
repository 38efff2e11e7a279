-- How a PostgreSQL store draws: functions that the server runs, so that what a burst of draws needs is one round trip.
-- `memollm.` is written as the schema that the URL names, and $OWNERS, $CALLS and $KEEPING as numbers of advisory locks.
-- How things are numbered stands in names.sql, and which positions a draw is given in positions.sql.
--
-- Whoever draws holds the lock of each call that it touches, taken in ascending order before anything else is touched,
-- until its transaction ends. So cursors and slots are read and changed by one at a time, nobody waits in a circle, and
-- every statement sees what was committed before its call was locked.

-- name: drawing_functions  They are made anew with each version of the schema.
-- What is known of a record; a reference to one in a bucket says the same of it. References are short, so that no long
-- record is read for that.
CREATE OR REPLACE FUNCTION memollm.is_reference(record bytea) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN octet_length(record) BETWEEN 44 AND 1500 THEN substring(record FOR 3) = '\x40403a' ELSE false END;
$$;

CREATE OR REPLACE FUNCTION memollm.digest_of(record bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN memollm.is_reference(record) THEN substring(record FROM 4 FOR 16)
        ELSE substring(sha256(record) FOR 16) END;
$$;

CREATE OR REPLACE FUNCTION memollm.size_of(record bytea) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN memollm.is_reference(record)
        THEN ('x' || encode(substring(record FROM 40 FOR 4), 'hex'))::bit(32)::integer ELSE octet_length(record) END;
$$;

-- Epochs are moments, in seconds since 2025, or more where they are many: so none comes twice after another cache has
-- taken the place of one, or an older state of it was restored. Locks bear their numbers, which have 31 bits.
CREATE OR REPLACE FUNCTION memollm.moment() RETURNS bigint LANGUAGE sql AS $$
    SELECT extract(epoch FROM clock_timestamp())::bigint - 1735689600;
$$;

CREATE OR REPLACE FUNCTION memollm.begin_epoch() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    begun bigint;
BEGIN
    UPDATE memollm.about SET epoch = greatest(epoch + 1, memollm.moment()) RETURNING epoch INTO begun;
    PERFORM pg_notify($CHANNEL, 'epoch ' || begun);
    RETURN begun;
END $$;

CREATE OR REPLACE FUNCTION memollm.tell(of_call bigint, of_slot bigint) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify($CHANNEL, 'slot ' || encode(key, 'hex') || ' ' || of_slot) FROM memollm.call WHERE id = of_call;
$$;

-- Whoever looks takes a process without its lock for dead, so it claims nothing before it has it again. And a process
-- that has given a connection up holds the lock of its number: what was sent by it and comes late is not done any more.
CREATE OR REPLACE FUNCTION memollm.require_asker(me integer, by integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_xact_lock_shared($OWNERS, me) THEN
        RAISE EXCEPTION USING ERRCODE = 'MM001', MESSAGE = 'the lock of the owner is not held';
    END IF;
    IF NOT pg_try_advisory_xact_lock_shared($CONNECTIONS, by) THEN
        RAISE EXCEPTION USING ERRCODE = 'MM004', MESSAGE = 'the connection was given up';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION memollm.lock_calls(numbers bigint[]) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock($CALLS, number) FROM (
        SELECT DISTINCT (each % 4096)::integer AS number FROM unnest(numbers) AS each WHERE each IS NOT NULL ORDER BY 1
    ) AS ordered;
$$;

-- What a want was given, as it is remembered for who asks again.
CREATE OR REPLACE FUNCTION memollm.of_want(
    of_call bigint, of_reader integer, generation bigint, delivered boolean, positions bigint[], claimed bigint[]
) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('call', of_call, 'reader', of_reader, 'generation', generation, 'delivered', delivered,
        'positions', positions, 'claimed', claimed);
$$;

CREATE OR REPLACE FUNCTION memollm.end_claim(me integer, of_ticket bigint, of_call bigint, of_slot bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    was memollm.slot;
BEGIN
    DELETE FROM memollm.slot WHERE call = of_call AND slot = of_slot AND owner = me AND ticket = of_ticket
        AND record IS NULL RETURNING * INTO was;
    IF NOT FOUND THEN
        SELECT * INTO was FROM memollm.slot
        WHERE call = of_call AND slot = of_slot AND owner = me AND ticket = of_ticket;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        UPDATE memollm.slot SET owner = NULL, ticket = NULL, is_waited_for = false
        WHERE call = of_call AND slot = of_slot;
    END IF;
    IF was.is_waited_for THEN
        PERFORM memollm.tell(of_call, of_slot);
    END IF;
END $$;

-- Settle a draw of which its process does not know what it was given: all of that is free again.
CREATE OR REPLACE FUNCTION memollm.settle_unknown(me integer, of_ticket bigint, given jsonb, keeps_claims boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    want jsonb;
    at bigint;
BEGIN
    DELETE FROM memollm.asked WHERE owner = me AND id = of_ticket;
    FOR want IN SELECT value FROM jsonb_array_elements(coalesce(given, '[]')) LOOP
        FOR at IN SELECT value::bigint FROM jsonb_array_elements(want->'positions') LOOP
            IF (want->>'delivered')::boolean THEN
                UPDATE memollm.cursor SET drawn = NULL WHERE call = (want->>'call')::bigint
                    AND reader = (want->>'reader')::integer AND drawn[1] = me AND drawn[2] = of_ticket;
                PERFORM memollm.free((want->>'call')::bigint, (want->>'reader')::integer, at,
                    (want->>'generation')::bigint);
            ELSE
                PERFORM memollm.let_go(me, of_ticket, (want->>'call')::bigint, (want->>'reader')::integer, at,
                    (want->>'generation')::bigint, true, false);
            END IF;
        END LOOP;
        IF NOT keeps_claims THEN
            FOR at IN SELECT value::bigint FROM jsonb_array_elements(want->'claimed') LOOP
                PERFORM memollm.end_claim(me, of_ticket, (want->>'call')::bigint, at);
            END LOOP;
        END IF;
    END LOOP;
END $$;

-- What most draws are: one stored sample, at the cursor of a reader that has no positions free or in flight.
CREATE OR REPLACE FUNCTION memollm.glance(
    this bigint, who integer, of_recorder integer, pool bigint, newer double precision
) RETURNS memollm.answered LANGUAGE plpgsql AS $$
DECLARE
    given memollm.answered;
BEGIN
    UPDATE memollm.cursor SET next = next + 1 FROM memollm.slot
    WHERE cursor.call = this AND cursor.reader = who AND slot.call = this
        AND slot.slot = CASE WHEN pool IS NULL THEN cursor.next ELSE cursor.next % pool END
        AND slot.record IS NOT NULL AND slot.stored > coalesce(newer, '-Infinity') AND NOT EXISTS (
            SELECT 1 FROM memollm.loose WHERE loose.call = this AND loose.reader = who AND NOT EXISTS (
                SELECT 1 FROM memollm.recorded WHERE recorded.call = this AND recorded.recorder = of_recorder
                    AND recorded.position = loose.position))
    RETURNING 'given', 0, 0, next - 1, NULL, generation, record, stored, seconds, input_tokens, output_tokens, cost, latency
    INTO given;
    RETURN given;
END $$;

-- The same for all draws of a burst at once. A reader's draws of a call are left to be done one by one unless each finds a
-- sample, and so is a call of which anything else is asked, too.
CREATE OR REPLACE FUNCTION memollm.glance_at_many(
    me integer, numbers bigint[], readers integer[], recorders integer[], steps jsonb
) RETURNS SETOF memollm.answered LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN QUERY WITH these AS MATERIALIZED (
        SELECT q, id, c, r, p, w, row_number() OVER (PARTITION BY c, r ORDER BY q) - 1 AS ahead,
            count(*) OVER (PARTITION BY c, r) AS count,
            bool_and(k = 'take' AND n = 1 AND r IS NOT NULL AND l IS NULL AND u IS NULL AND i = 0 AND z IS TRUE)
                OVER (PARTITION BY c) AS are_plain
        FROM jsonb_to_recordset(steps) AS each (
            k text, q integer, i integer, id bigint, z boolean, c integer, r integer, n bigint, p bigint, l text,
            w double precision, u boolean)
    ), found AS MATERIALIZED (
        SELECT q, id, cursor.call, reader, next + ahead AS at, generation, record, stored, seconds, input_tokens,
            output_tokens, cost, latency, count, count(*) OVER (PARTITION BY c, r) = count AS is_whole
        FROM these JOIN memollm.cursor ON cursor.call = numbers[c + 1] AND reader = readers[r + 1]
        JOIN memollm.slot ON slot.call = numbers[c + 1]
            AND slot.slot = CASE WHEN p IS NULL THEN next + ahead ELSE (next + ahead) % p END
        WHERE are_plain AND record IS NOT NULL AND stored > coalesce(w, '-Infinity') AND NOT EXISTS (
            SELECT 1 FROM memollm.loose WHERE loose.call = numbers[c + 1] AND loose.reader = readers[r + 1]
                AND NOT EXISTS (
                    SELECT 1 FROM memollm.recorded WHERE recorded.call = numbers[c + 1]
                        AND recorded.recorder = recorders[r + 1] AND recorded.position = loose.position))
    ), moved AS (
        UPDATE memollm.cursor SET next = cursor.next + count
        FROM (SELECT DISTINCT call, reader, count FROM found WHERE is_whole) AS whole
        WHERE cursor.call = whole.call AND cursor.reader = whole.reader
    ), remembered AS (
        INSERT INTO memollm.asked (owner, id, answer)
        SELECT me, id, jsonb_build_array(memollm.of_want(call, reader, generation, true, ARRAY[at], '{}'))
        FROM found WHERE is_whole
    )
    SELECT 'given', q, 0, at, NULL::bigint, generation, record, stored, seconds, input_tokens, output_tokens, cost, latency
    FROM found WHERE is_whole;
END $$;

-- Tell whether steps only read, and find everything: they wait for nobody.
CREATE OR REPLACE FUNCTION memollm.only_read(numbers bigint[], steps jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT 1 FROM jsonb_to_recordset(steps) AS each (k text, c integer, r integer, n bigint, w double precision)
        WHERE NOT EXISTS (
            SELECT 1 FROM memollm.slot WHERE slot.call = numbers[each.c + 1] AND slot.record IS NOT NULL
                AND slot.slot = CASE WHEN each.k = 'look' THEN each.n WHEN each.n = 1 AND each.r IS NULL THEN 0 ELSE -1 END
                AND slot.stored > coalesce(each.w, '-Infinity') AND each.k IN ('look', 'take'))
    );
END $$;

-- Read slots at positions, and claim those that are vacant and that nobody alive fills.
CREATE OR REPLACE FUNCTION memollm.read_or_claim(
    me integer, this bigint, step memollm.step, positions bigint[], is_locked boolean,
    OUT states memollm.answered[], OUT claimed bigint[], OUT count_filled integer
) LANGUAGE plpgsql AS $$
DECLARE
    at record;
BEGIN
    states := '{}'; claimed := '{}'; count_filled := 0;
    FOR at IN
        SELECT these.each AS position, slot.*,
            CASE WHEN step.p IS NULL THEN these.each ELSE these.each % step.p END AS of_slot
        FROM unnest(positions) WITH ORDINALITY AS these (each, nth)
        LEFT JOIN memollm.slot ON slot.call = this
            AND slot.slot = CASE WHEN step.p IS NULL THEN these.each ELSE these.each % step.p END
        ORDER BY these.nth
    LOOP
        IF at.record IS NOT NULL AND at.stored > coalesce(step.w, '-Infinity') THEN
            states := states || ROW('sample', step.q, step.i, at.position, NULL, NULL, at.record, at.stored, at.seconds,
                at.input_tokens, at.output_tokens, at.cost, at.latency)::memollm.answered;
            count_filled := count_filled + 1;
        ELSIF NOT is_locked THEN
            -- It was there a moment ago, and was removed: begin anew.
            RAISE EXCEPTION USING ERRCODE = 'MM002', MESSAGE = 'a sample was removed';
        ELSIF at.owner IS NOT NULL AND (at.owner, at.ticket) IS DISTINCT FROM (me, step.t)
            AND memollm.lives(at.owner, me)
        THEN
            states := states || ROW('busy', step.q, step.i, at.position, CASE WHEN at.owner = me THEN at.ticket END,
                NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::memollm.answered;
        ELSE
            INSERT INTO memollm.slot (call, slot, owner, ticket) VALUES (this, at.of_slot, me, step.t)
            ON CONFLICT (call, slot) DO UPDATE SET owner = excluded.owner, ticket = excluded.ticket;
            claimed := claimed || at.of_slot;
            states := states || ROW('mine', step.q, step.i, at.position, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                NULL)::memollm.answered;
        END IF;
    END LOOP;
END $$;

-- What is done of a step: its rows, what of it is remembered for who asks again, and whether it has changed anything.

CREATE OR REPLACE FUNCTION memollm.take_step(
    me integer, this bigint, who integer, of_recorder integer, step memollm.step, is_locked boolean
) RETURNS memollm.done LANGUAGE plpgsql AS $$
DECLARE
    given memollm.answered;
    got record;
    read record;
    is_delivered boolean;
BEGIN
    IF step.n = 1 AND who IS NOT NULL AND step.l IS NULL AND step.u IS NULL THEN
        given := memollm.glance(this, who, of_recorder, step.p, step.w);
        IF given.at IS NOT NULL THEN
            given.request := step.q; given.nth := step.i;
            RETURN (ARRAY[given],
                memollm.of_want(this, who, given.of_generation, true, ARRAY[given.at], '{}'), true)::memollm.done;
        END IF;
    END IF;
    IF who IS NULL THEN
        SELECT ARRAY(SELECT generate_series(0, step.n - 1)) AS positions, 0::bigint AS of_generation INTO got;
    ELSIF step.u THEN
        got := memollm.take_left(me, this, who, of_recorder, step.n, step.p,
            CASE WHEN step.l IS NOT NULL THEN memollm.number_of_lane(step.l) END);
    ELSE
        got := memollm.take(me, this, who, of_recorder, step.n, step.p,
            CASE WHEN step.l IS NOT NULL THEN memollm.number_of_lane(step.l) END,
            CASE WHEN step.o IS NOT NULL THEN memollm.numbers_of_lanes(step.o) END);
    END IF;
    read := memollm.read_or_claim(me, this, step, got.positions, is_locked);
    IF who IS NOT NULL THEN
        is_delivered := read.count_filled = cardinality(got.positions);
        IF NOT is_delivered THEN
            INSERT INTO memollm.loose (reader, call, position, owner, ticket)
            SELECT who, this, each, me, step.t FROM unnest(got.positions) AS each
            ON CONFLICT (call, reader, position) DO UPDATE SET owner = excluded.owner, ticket = excluded.ticket;
        ELSIF got.positions[1] < got.stood OR step.u THEN
            DELETE FROM memollm.loose WHERE reader = who AND call = this AND position = ANY (got.positions);
        END IF;
    END IF;
    given.kind := 'want'; given.request := step.q; given.nth := step.i; given.of_generation := got.of_generation;
    RETURN (given || read.states,
        memollm.of_want(this, who, got.of_generation, coalesce(is_delivered, false), got.positions, read.claimed),
        who IS NOT NULL OR cardinality(read.claimed) > 0)::memollm.done;
END $$;

CREATE OR REPLACE FUNCTION memollm.look_step(me integer, this bigint, step memollm.step, is_locked boolean)
RETURNS memollm.done LANGUAGE plpgsql AS $$
DECLARE
    read record;
BEGIN
    read := memollm.read_or_claim(me, this, step, ARRAY[step.n], is_locked);
    RETURN (read.states, '[]', cardinality(read.claimed) > 0)::memollm.done;
END $$;

-- Fill a slot, unless another sample came first. Where one was replaced, all who remember it are told.
CREATE OR REPLACE FUNCTION memollm.fill_step(me integer, this bigint, step memollm.step, record bytea)
RETURNS memollm.done LANGUAGE plpgsql AS $$
DECLARE
    is_waited_for boolean;
    was memollm.slot;
    told memollm.answered[] := '{}';
BEGIN
    UPDATE memollm.slot SET record = fill_step.record, stored = step.s, seconds = step.se, input_tokens = step.ti,
        output_tokens = step."to", cost = step.co, latency = step.la, owner = NULL, ticket = NULL
    WHERE slot.call = this AND slot.slot = step.n AND slot.owner = me AND slot.ticket = step.t AND slot.record IS NULL
    RETURNING slot.is_waited_for INTO is_waited_for;
    IF FOUND THEN
        IF is_waited_for THEN
            PERFORM memollm.tell(this, step.n);
        END IF;
        RETURN (told, '[]', true)::memollm.done;
    END IF;
    PERFORM memollm.end_claim(me, step.t, this, step.n);
    SELECT * INTO was FROM memollm.slot WHERE slot.call = this AND slot.slot = step.n;
    IF was.record IS NOT NULL AND was.stored > coalesce(step.w, '-Infinity') THEN
        told := ARRAY[memollm.lost(step, was)];
        RETURN (told, to_jsonb(step.i), true)::memollm.done;
    END IF;
    IF was.record IS NOT NULL THEN
        INSERT INTO memollm.replaced (call, slot, stored, digest)
        VALUES (this, step.n, was.stored, memollm.digest_of(was.record)) ON CONFLICT DO NOTHING;
        told := ARRAY[ROW('epoch', step.q, step.i, memollm.begin_epoch(), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL)::memollm.answered];
    END IF;
    INSERT INTO memollm.slot (call, slot, record, stored, seconds, input_tokens, output_tokens, cost, latency)
    VALUES (this, step.n, fill_step.record, step.s, step.se, step.ti, step."to", step.co, step.la)
    ON CONFLICT (call, slot) DO UPDATE SET record = excluded.record, stored = excluded.stored,
        seconds = excluded.seconds, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
        cost = excluded.cost, latency = excluded.latency;
    RETURN (told, '[]', true)::memollm.done;
END $$;

-- The sample that came before one that was to fill its slot.
CREATE OR REPLACE FUNCTION memollm.lost(step memollm.step, was memollm.slot) RETURNS memollm.answered LANGUAGE sql AS $$
    SELECT ROW('lost', step.q, step.i, step.n, NULL, NULL, was.record, was.stored, was.seconds, was.input_tokens,
        was.output_tokens, was.cost, was.latency)::memollm.answered;
$$;

-- Let go of a claim or a position; only that a position was not the draw's any more is told.
CREATE OR REPLACE FUNCTION memollm.end_step(
    me integer, this bigint, who integer, step memollm.step, known jsonb
) RETURNS memollm.done LANGUAGE plpgsql AS $$
DECLARE
    is_void boolean := false;
BEGIN
    CASE step.k
    WHEN 'end' THEN
        PERFORM memollm.end_claim(me, step.t, this, step.n);
    WHEN 'go' THEN
        is_void := memollm.let_go(me, step.t, this, who, step.n, step.g, step.f, coalesce(step.rf, false));
    WHEN 'free' THEN
        PERFORM memollm.free(this, who, step.n, step.g);
    WHEN 'unknown' THEN
        PERFORM memollm.settle_unknown(me, step.t, known->(step.t::text), step.f);
    END CASE;
    IF is_void THEN
        RETURN (ARRAY[memollm.void(step)], to_jsonb(step.i), true)::memollm.done;
    END IF;
    RETURN (ARRAY[]::memollm.answered[], '[]', true)::memollm.done;
END $$;

CREATE OR REPLACE FUNCTION memollm.void(step memollm.step) RETURNS memollm.answered LANGUAGE sql AS $$
    SELECT ROW('void', step.q, step.i, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::memollm.answered;
$$;

-- What was asked before, and its answer lost.

CREATE OR REPLACE FUNCTION memollm.known(me integer, numbers bigint[], readers integer[], steps jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    WITH these AS (
        SELECT CASE k WHEN 'unknown' THEN t ELSE id END AS id, numbers[c + 1] AS call, readers[r + 1] AS reader
        FROM jsonb_to_recordset(steps) AS each (k text, id bigint, t bigint, c integer, r integer)
    ), noted AS (
        SELECT id, coalesce(answer, '[]') AS answer FROM memollm.asked WHERE owner = me AND id IN (SELECT id FROM these)
        UNION SELECT id, jsonb_build_array(memollm.of_want(call, reader, generation, true, ARRAY[drawn[3]], '{}'))
        FROM these JOIN memollm.cursor USING (call, reader) WHERE drawn[1] = me AND drawn[2] = id
    )
    SELECT coalesce(jsonb_object_agg(id, answer), '{}') FROM noted;
$$;

CREATE OR REPLACE FUNCTION memollm.calls_of(known jsonb) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT ARRAY(
        SELECT (want->>'call')::bigint FROM jsonb_each(known) AS old (key, value), LATERAL jsonb_array_elements(
            CASE jsonb_typeof(old.value) WHEN 'array' THEN old.value ELSE '[]' END) AS want
        WHERE want ? 'call');
$$;

-- Answer a step that was done as it was answered.
CREATE OR REPLACE FUNCTION memollm.answer_again(this bigint, step memollm.step, remembered jsonb)
RETURNS SETOF memollm.answered LANGUAGE plpgsql AS $$
DECLARE
    given memollm.answered;
    want jsonb := remembered->step.i;
BEGIN
    IF step.k = 'take' THEN
        given.kind := 'want'; given.request := step.q; given.nth := step.i;
        given.of_generation := (want->>'generation')::bigint;
        RETURN NEXT given;
        RETURN QUERY SELECT
            CASE WHEN want->'claimed' @> to_jsonb(of_slot) THEN 'mine'
                -- What taking has not delivered is looked at, and settled: it is in flight, though it be filled by now.
                WHEN record IS NULL OR NOT (want->>'delivered')::boolean THEN 'busy' ELSE 'sample' END,
            step.q, step.i, each, NULL::bigint, NULL::bigint, record, stored, seconds, input_tokens, output_tokens, cost,
            latency
        FROM (
            SELECT value::bigint AS each, nth,
                CASE WHEN step.p IS NULL THEN value::bigint ELSE value::bigint % step.p END AS of_slot
            FROM jsonb_array_elements(want->'positions') WITH ORDINALITY AS those (value, nth)
        ) AS these LEFT JOIN memollm.slot ON slot.call = this AND slot.slot = of_slot ORDER BY these.nth;
    ELSIF jsonb_typeof(remembered) = 'array' AND remembered @> to_jsonb(step.i) THEN
        IF step.k = 'go' THEN
            RETURN NEXT memollm.void(step);
        ELSE
            RETURN QUERY SELECT (memollm.lost(step, was)).* FROM memollm.slot AS was
            WHERE was.call = this AND was.slot = step.n AND was.record IS NOT NULL;
        END IF;
    END IF;
END $$;

-- Do what several draws ask for, in order. Each step is one of these, by `k`:
--     take    the positions of a want           look    at a slot        fill    a slot
--     end     a claim                           go      of a position    free    a position
--     unknown, to settle a draw of which nobody here knows what it was given
-- `q` is the number of its request, `i` its own within that, `id` what the request is remembered by, `z` that it is the
-- last of its request. Answers are rows, whose `kind` says what they are about.
CREATE OR REPLACE FUNCTION memollm.perform(
    me integer, by integer, again boolean, arrived bigint[], numbered bigint, calls jsonb, readers jsonb, steps jsonb, records bytea[],
    made_at double precision
) RETURNS SETOF memollm.answered LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[];
    pair integer[];
    reader_numbers integer[] := '{}';
    recorders integer[] := '{}';
    known jsonb := '{}';
    is_locked boolean;
    count_given integer := 0;
    given bigint[] := '{}';
    step memollm.step;
    this bigint;
    who integer;
    did memollm.done;
    answer jsonb := '[]';
    has_changed boolean := false;
BEGIN
    PERFORM memollm.require_asker(me, by);
    PERFORM pg_advisory_xact_lock_shared($KEEPING, 0);
    numbers := memollm.numbers_of_calls(calls, made_at);
    RETURN QUERY SELECT * FROM memollm.tell_calls(calls, numbers, numbered);
    FOR pair IN SELECT numbers_of_readers FROM memollm.numbers_of_readers(readers) LOOP
        reader_numbers := reader_numbers || pair[1];
        recorders := recorders || pair[2];
    END LOOP;
    RETURN QUERY SELECT * FROM memollm.tell_readers(readers, reader_numbers, recorders);
    IF cardinality(arrived) > 0 THEN
        DELETE FROM memollm.asked WHERE owner = me AND id = ANY (arrived);
    END IF;
    IF again THEN
        known := memollm.known(me, numbers, reader_numbers, steps);
    END IF;
    PERFORM memollm.bring_lanes(steps);
    is_locked := NOT memollm.only_read(numbers, steps);
    IF is_locked THEN
        PERFORM memollm.lock_calls(numbers || memollm.calls_of(known));
        IF NOT again AND jsonb_array_length(steps) > 1 THEN
            RETURN QUERY SELECT * FROM memollm.glance_at_many(me, numbers, reader_numbers, recorders, steps);
            GET DIAGNOSTICS count_given = ROW_COUNT;
            IF count_given = jsonb_array_length(steps) THEN
                RETURN;
            ELSIF count_given > 0 THEN
                given := ARRAY(SELECT id FROM memollm.asked WHERE owner = me AND id IN (
                    SELECT (value->>'id')::bigint FROM jsonb_array_elements(steps)));
            END IF;
        END IF;
    END IF;
    FOR step IN SELECT * FROM jsonb_populate_recordset(NULL::memollm.step, steps) LOOP
        CONTINUE WHEN step.id = ANY (given);
        this := numbers[step.c + 1];
        who := reader_numbers[step.r + 1];
        IF known ? step.id::text THEN
            RETURN QUERY SELECT * FROM memollm.answer_again(this, step, known->(step.id::text));
            CONTINUE;
        END IF;
        CASE step.k
        WHEN 'take' THEN
            did := memollm.take_step(me, this, who, recorders[step.r + 1], step, is_locked);
        WHEN 'look' THEN
            did := memollm.look_step(me, this, step, is_locked);
        WHEN 'fill' THEN
            did := memollm.fill_step(me, this, step, records[step.b]);
        ELSE
            did := memollm.end_step(me, this, who, step, known);
        END CASE;
        RETURN QUERY SELECT * FROM unnest(did.answers);
        answer := answer || did.remembered;
        has_changed := has_changed OR did.has_changed;
        IF step.z THEN
            IF has_changed AND step.id IS NOT NULL THEN
                INSERT INTO memollm.asked (owner, id, answer) VALUES (me, step.id, answer);
            END IF;
            answer := '[]';
            has_changed := false;
        END IF;
    END LOOP;
END $$;

-- Move the note that a cursor bears, if it is of one who is taken for dead, to where it is in nobody's way: its owner may
-- come back, and ask again.
CREATE OR REPLACE FUNCTION memollm.move_note(me integer, this bigint, who integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    noted memollm.cursor;
BEGIN
    SELECT * INTO noted FROM memollm.cursor WHERE call = this AND reader = who;
    IF noted.drawn[1] = me OR memollm.lives(noted.drawn[1]::integer, me) THEN
        RETURN;
    END IF;
    INSERT INTO memollm.asked (owner, id, answer)
    SELECT id, noted.drawn[2],
        jsonb_build_array(memollm.of_want(this, who, noted.generation, true, ARRAY[noted.drawn[3]], '{}'))
    FROM memollm.owner WHERE id = noted.drawn[1]
    ON CONFLICT DO NOTHING;
    UPDATE memollm.cursor SET drawn = NULL WHERE call = this AND reader = who;
END $$;

-- One draw of one sample, whose call and reader have numbers already.
CREATE OR REPLACE FUNCTION memollm.draw(
    me integer, by integer, nth bigint, since bigint, asked_as bigint, numbered bigint, this bigint, who integer,
    of_recorder integer, pool bigint, newer double precision, arrived bigint[] DEFAULT '{}'
) RETURNS SETOF memollm.answered LANGUAGE plpgsql AS $$
DECLARE
    given memollm.answered;
    is_locked boolean;
BEGIN
    -- Expressions take less than statements: this is asked for more often than anything else.
    IF pg_try_advisory_xact_lock_shared($OWNERS, me) OR NOT pg_try_advisory_xact_lock_shared($CONNECTIONS, by) THEN
        PERFORM memollm.require_asker(me, by);
    END IF;
    is_locked := pg_advisory_xact_lock_shared($KEEPING, 0) IS NOT NULL
        AND pg_advisory_xact_lock($CALLS, (this % 4096)::integer) IS NOT NULL;
    -- As `glance` does, in line, which takes a tenth less. What was asked is noted at the cursor, for who asks again, unless
    -- it bears a note that may be needed still. Draws of `me` have numbers in the order in which they were asked for first;
    -- what was before `since` has arrived.
    UPDATE memollm.cursor SET next = next + 1, drawn = CASE
        WHEN drawn IS NULL OR drawn[1] = me AND drawn[4] < since THEN ARRAY[me, asked_as, next, nth] ELSE drawn END
    FROM memollm.slot
    WHERE cursor.call = this AND cursor.reader = who AND slot.call = this
        AND slot.slot = CASE WHEN pool IS NULL THEN cursor.next ELSE cursor.next % pool END
        AND slot.record IS NOT NULL AND slot.stored > coalesce(newer, '-Infinity') AND NOT EXISTS (
            SELECT 1 FROM memollm.loose WHERE loose.call = this AND loose.reader = who AND NOT EXISTS (
                SELECT 1 FROM memollm.recorded WHERE recorded.call = this AND recorded.recorder = of_recorder
                    AND recorded.position = loose.position))
        AND numbered = (SELECT numbering FROM memollm.about)
    RETURNING 'given', 0, 0, next - 1, drawn[2], generation, record, stored, seconds, input_tokens, output_tokens, cost,
        latency INTO given;
    IF given.at IS NULL THEN
        RETURN QUERY SELECT * FROM memollm.perform(me, by, false, arrived, numbered, jsonb_build_array(jsonb_build_array(this)),
            jsonb_build_array(jsonb_build_array(who, of_recorder)), jsonb_build_array(jsonb_build_object('k', 'take',
                'q', 0, 'i', 0, 'id', asked_as, 't', asked_as, 'n', 1, 'c', 0, 'r', 0, 'z', true, 'p', pool,
                'w', newer)), '{}', 0);
        RETURN;
    END IF;
    IF given.of_ticket <> asked_as THEN
        INSERT INTO memollm.asked (owner, id, answer) VALUES (me, asked_as,
            jsonb_build_array(memollm.of_want(this, who, given.of_generation, true, ARRAY[given.at], '{}')));
        PERFORM memollm.move_note(me, this, who);
    END IF;
    IF cardinality(arrived) > 0 THEN
        DELETE FROM memollm.asked WHERE owner = me AND id = ANY (arrived);
    END IF;
    RETURN NEXT given;
END $$;

-- Tell who is filling slots, and mark that somebody waits for each, so that filling it tells.
CREATE OR REPLACE FUNCTION memollm.wait_for(me integer, keys bytea[], forms text[], slots bigint[])
RETURNS TABLE (nth bigint, owner integer, ticket bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
BEGIN
    ids := ARRAY(
        SELECT call.id FROM unnest(keys, forms) WITH ORDINALITY AS these (its_key, its_form, nth)
        LEFT JOIN memollm.call ON call.key = its_key AND call.form = its_form ORDER BY these.nth);
    IF EXISTS (
        SELECT 1 FROM unnest(ids, slots) AS these (call, slot) JOIN memollm.slot USING (call, slot)
        WHERE slot.owner IS NOT NULL AND NOT slot.is_waited_for
    ) THEN
        PERFORM pg_advisory_xact_lock_shared($KEEPING, 0);
        PERFORM memollm.lock_calls(ids);
        UPDATE memollm.slot SET is_waited_for = true FROM unnest(ids, slots) AS these (call, slot)
        WHERE slot.call = these.call AND slot.slot = these.slot AND slot.owner IS NOT NULL;
    END IF;
    RETURN QUERY SELECT these.nth - 1, slot.owner, slot.ticket
    FROM unnest(ids, slots) WITH ORDINALITY AS these (call, slot, nth)
    JOIN memollm.slot ON slot.call = these.call AND slot.slot = these.slot
    WHERE slot.owner IS NOT NULL AND memollm.lives(slot.owner, me);
END $$;
