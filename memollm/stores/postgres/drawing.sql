-- How a PostgreSQL store draws: functions that the server runs, so that what a burst of draws needs is one round trip.
-- `memollm.` is written as the schema that the URL names, and $OWNERS, $CALLS and $KEEPING as numbers of advisory locks.
--
-- Whoever draws holds the lock of each call that it touches, taken in ascending order before anything else is touched,
-- until its transaction ends. So cursors and slots are read and changed by one at a time, nobody waits in a circle, and
-- every statement sees what was committed before its call was locked.

-- name: drawing_functions  They are made anew with each version of the schema.
CREATE OR REPLACE FUNCTION memollm.lives(of_owner integer, me integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF of_owner = me THEN
        RETURN true;
    END IF;
    -- Shared, so that those who ask at one time do not take one another for the owner.
    IF pg_try_advisory_lock_shared($OWNERS, of_owner) THEN
        PERFORM pg_advisory_unlock_shared($OWNERS, of_owner);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- What is known of a record; a reference to one in a bucket says the same of it. References are short, so that no long
-- record is read for that.
CREATE OR REPLACE FUNCTION memollm.is_reference(record bytea) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN octet_length(record) BETWEEN 44 AND 1500 THEN substring(record FOR 3) = '\x40313a' ELSE false END;
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

CREATE OR REPLACE FUNCTION memollm.new_generation() RETURNS bigint LANGUAGE sql AS $$
    SELECT 1 + ('x' || encode(substring(uuid_send(gen_random_uuid()) FROM 9 FOR 8), 'hex'))::bit(64)::bigint
        & 4611686018427387903;
$$;

-- Calls are given as [[number, key, function, form]]; of each without a number, the number is returned.
CREATE OR REPLACE FUNCTION memollm.numbers_of_calls(given jsonb, made_at double precision) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    each record;
    number bigint;
    numbers bigint[] := '{}';
BEGIN
    IF NOT EXISTS (SELECT 1 FROM jsonb_array_elements(given) WHERE value->0 = 'null') THEN
        RETURN ARRAY(SELECT (value->>0)::bigint FROM jsonb_array_elements(given) WITH ORDINALITY ORDER BY ordinality);
    END IF;
    -- In the order of their keys, so that nobody waits in a circle for what another is about to add.
    FOR each IN
        SELECT ordinality AS nth, (value->>0)::bigint AS id, decode(value->>1, 'hex') AS key, value->>2 AS function,
            value->>3 AS form, sha256(convert_to(value->>3, 'UTF8')) AS digest
        FROM jsonb_array_elements(given) WITH ORDINALITY ORDER BY 3, 6
    LOOP
        number := each.id;
        IF number IS NULL THEN
            SELECT id INTO number FROM memollm.call WHERE key = each.key AND digest = each.digest;
            WHILE number IS NULL LOOP
                INSERT INTO memollm.call (key, function, form, digest, made)
                VALUES (each.key, each.function, each.form, each.digest, made_at)
                ON CONFLICT (key, digest) DO NOTHING RETURNING id INTO number;
                IF number IS NULL THEN
                    SELECT id INTO number FROM memollm.call WHERE key = each.key AND digest = each.digest;
                END IF;
            END LOOP;
        END IF;
        numbers[each.nth] := number;
    END LOOP;
    RETURN numbers;
END $$;

CREATE OR REPLACE FUNCTION memollm.number_of_reader(of_name text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    number integer;
BEGIN
    SELECT id INTO number FROM memollm.reader WHERE name = of_name;
    WHILE number IS NULL LOOP
        INSERT INTO memollm.reader (name) VALUES (of_name) ON CONFLICT (name) DO NOTHING RETURNING id INTO number;
        IF number IS NULL THEN
            SELECT id INTO number FROM memollm.reader WHERE name = of_name;
        END IF;
    END LOOP;
    RETURN number;
END $$;

CREATE OR REPLACE FUNCTION memollm.number_of_lane(of_name text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    number integer;
BEGIN
    SELECT id INTO number FROM memollm.lane WHERE name = of_name;
    WHILE number IS NULL LOOP
        INSERT INTO memollm.lane (name) VALUES (of_name) ON CONFLICT (name) DO NOTHING RETURNING id INTO number;
        IF number IS NULL THEN
            SELECT id INTO number FROM memollm.lane WHERE name = of_name;
        END IF;
    END LOOP;
    RETURN number;
END $$;

-- Readers are given as [[number, recorder's number, name, recorder's name]].
CREATE OR REPLACE FUNCTION memollm.numbers_of_readers(given jsonb) RETURNS SETOF integer[] LANGUAGE plpgsql AS $$
DECLARE
    each text;
BEGIN
    FOR each IN
        SELECT DISTINCT name COLLATE "C" AS name FROM jsonb_array_elements(given), LATERAL (VALUES (value->>2), (value->>3)) AS names (name)
        WHERE value->>0 IS NULL ORDER BY 1
    LOOP
        PERFORM memollm.number_of_reader(each);
    END LOOP;
    RETURN QUERY SELECT ARRAY[
        coalesce((value->>0)::integer, memollm.number_of_reader(value->>2)),
        coalesce((value->>1)::integer, memollm.number_of_reader(value->>3))
    ] FROM jsonb_array_elements(given) WITH ORDINALITY ORDER BY ordinality;
END $$;

-- Pass over what is recorded for lanes from the cursor on; return where the cursor stands then.
CREATE OR REPLACE FUNCTION memollm.reserve(of_call bigint, of_reader integer, of_recorder integer, stands bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    upto bigint;
BEGIN
    SELECT max(position) + 1 INTO upto FROM memollm.recorded WHERE recorder = of_recorder AND call = of_call;
    IF upto IS NULL OR upto <= stands THEN
        RETURN stands;
    END IF;
    IF upto - stands > 16777216 THEN
        RAISE EXCEPTION USING ERRCODE = 'MM003', MESSAGE = (upto - stands)::text;
    END IF;
    INSERT INTO memollm.loose (reader, call, position)
    SELECT of_reader, of_call, at FROM generate_series(stands, upto - 1) AS at
    ON CONFLICT (call, reader, position) DO UPDATE SET owner = NULL, ticket = NULL;
    UPDATE memollm.cursor SET next = upto WHERE reader = of_reader AND call = of_call;
    RETURN upto;
END $$;

-- What most draws are: one stored sample, at the cursor of a reader that has no positions free or in flight.
CREATE OR REPLACE FUNCTION memollm.glance(
    this bigint, who integer, of_recorder integer, pool bigint, newer double precision,
    OUT of_generation bigint, OUT at bigint, OUT body bytea, OUT stored double precision, OUT seconds double precision,
    OUT input_tokens bigint, OUT output_tokens bigint, OUT cost double precision, OUT latency double precision
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    SELECT cursor.generation, cursor.next, slot.record, slot.stored, slot.seconds, slot.input_tokens,
        slot.output_tokens, slot.cost, slot.latency
    INTO of_generation, at, body, stored, seconds, input_tokens, output_tokens, cost, latency
    FROM memollm.cursor JOIN memollm.slot ON slot.call = cursor.call
        AND slot.slot = CASE WHEN pool IS NULL THEN cursor.next ELSE cursor.next % pool END
    WHERE cursor.call = this AND cursor.reader = who AND slot.record IS NOT NULL
        AND slot.stored > coalesce(newer, '-Infinity') AND NOT EXISTS (
            SELECT 1 FROM memollm.loose WHERE loose.call = this AND loose.reader = who AND NOT EXISTS (
                SELECT 1 FROM memollm.recorded WHERE recorded.call = this AND recorded.recorder = of_recorder
                    AND recorded.position = loose.position));
    IF FOUND THEN
        UPDATE memollm.cursor SET next = next + 1 WHERE call = this AND reader = who;
    END IF;
END $$;

-- What `choose_positions` of the package says: free positions first, then those from the cursor on. In a pool no two of
-- them read one slot.
CREATE OR REPLACE FUNCTION memollm.choose(free bigint[], stands bigint, n bigint, pool bigint) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    chosen bigint[] := '{}';
    kept bigint[];
    at bigint;
BEGIN
    IF pool IS NULL THEN
        chosen := free[1:n::integer];
        RETURN chosen || ARRAY(SELECT generate_series(stands, stands + n - cardinality(chosen) - 1));
    END IF;
    FOREACH at IN ARRAY free LOOP
        EXIT WHEN cardinality(chosen) >= n;
        IF NOT EXISTS (SELECT 1 FROM unnest(chosen) AS other WHERE other % pool = at % pool) THEN
            chosen := chosen || at;
        END IF;
    END LOOP;
    LOOP
        -- Those ahead read as many slots that follow one another, round the pool.
        kept := ARRAY(
            SELECT each FROM unnest(chosen) WITH ORDINALITY AS these (each, nth)
            WHERE ((each - stands) % pool + pool) % pool >= n - cardinality(chosen) ORDER BY nth
        );
        EXIT WHEN cardinality(kept) = cardinality(chosen);
        chosen := kept;
    END LOOP;
    RETURN chosen || ARRAY(SELECT generate_series(stands, stands + n - cardinality(chosen) - 1));
END $$;

-- What is recorded for a lane and free, in the lane's order.
CREATE OR REPLACE FUNCTION memollm.own(
    me integer, of_call bigint, of_reader integer, of_recorder integer, of_lane integer
) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT ARRAY(
        SELECT loose.position FROM memollm.loose JOIN memollm.recorded ON recorded.recorder = of_recorder
            AND recorded.call = loose.call AND recorded.position = loose.position
        WHERE loose.reader = of_reader AND loose.call = of_call AND recorded.lane = of_lane
            AND loose.ticket IS DISTINCT FROM 0
            AND (loose.owner IS NULL OR NOT memollm.lives(loose.owner, me))
        ORDER BY recorded.nth);
$$;

-- Record so many more positions for each lane of an order, in turn, and keep them free for these.
CREATE OR REPLACE FUNCTION memollm.add_rounds(
    of_call bigint, of_reader integer, of_recorder integer, of_order integer[], stands bigint, rounds bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    upto bigint := stands + rounds * cardinality(of_order);
BEGIN
    INSERT INTO memollm.recorded (recorder, call, position, lane, nth)
    SELECT of_recorder, of_call, at, these.lane, (at - stands) / cardinality(of_order) + coalesce((
        SELECT max(nth) + 1 FROM memollm.recorded
        WHERE recorder = of_recorder AND call = of_call AND recorded.lane = these.lane), 0)
    FROM generate_series(stands, upto - 1) AS at,
        LATERAL (SELECT of_order[(at - stands) % cardinality(of_order) + 1] AS lane) AS these;
    INSERT INTO memollm.loose (reader, call, position)
    SELECT of_reader, of_call, at FROM generate_series(stands, upto - 1) AS at
    ON CONFLICT (call, reader, position) DO UPDATE SET owner = NULL, ticket = NULL;
    UPDATE memollm.cursor SET next = upto WHERE reader = of_reader AND call = of_call;
    RETURN upto;
END $$;

-- Take of what is left of what another reader was given, for the one that resumes it.
CREATE OR REPLACE FUNCTION memollm.take_left(
    me integer, of_call bigint, of_reader integer, other integer, n bigint, pool bigint, of_lane integer,
    OUT positions bigint[], OUT of_generation bigint, OUT stood bigint
) LANGUAGE plpgsql AS $$
DECLARE
    free bigint[];
    at bigint;
BEGIN
    SELECT next, generation INTO stood, of_generation FROM memollm.cursor WHERE reader = of_reader AND call = of_call;
    IF NOT FOUND THEN
        SELECT next INTO stood FROM memollm.cursor WHERE reader = other AND call = of_call;
        stood := coalesce(stood, 0);
        IF stood > 16777216 THEN
            RAISE EXCEPTION USING ERRCODE = 'MM003', MESSAGE = stood::text;
        END IF;
        of_generation := memollm.new_generation();
        INSERT INTO memollm.loose (reader, call, position)
        SELECT of_reader, of_call, passed FROM generate_series(0, stood - 1) AS passed WHERE NOT EXISTS (
            SELECT 1 FROM memollm.loose WHERE reader = other AND call = of_call AND position = passed);
        INSERT INTO memollm.cursor (reader, call, next, generation) VALUES (of_reader, of_call, stood, of_generation);
    END IF;
    IF of_lane IS NOT NULL THEN
        free := memollm.own(me, of_call, of_reader, other, of_lane);
    ELSE
        free := ARRAY(
            SELECT position FROM memollm.loose
            WHERE reader = of_reader AND call = of_call AND NOT EXISTS (
                SELECT 1 FROM memollm.recorded WHERE recorder = other AND recorded.call = of_call
                    AND recorded.position = loose.position
            ) AND (owner IS NULL OR NOT memollm.lives(owner, me))
            ORDER BY position LIMIT CASE WHEN pool IS NULL THEN n END
        );
    END IF;
    positions := '{}';
    FOREACH at IN ARRAY free LOOP
        EXIT WHEN cardinality(positions) >= n;
        IF pool IS NULL OR NOT EXISTS (SELECT 1 FROM unnest(positions) AS other_at WHERE other_at % pool = at % pool) THEN
            positions := positions || at;
        END IF;
    END LOOP;
END $$;

-- Take positions of a reader, and tell in which generation and whether any of them was passed before.
CREATE OR REPLACE FUNCTION memollm.take(
    me integer, of_call bigint, of_reader integer, of_recorder integer, n bigint, pool bigint, of_lane integer,
    of_order integer[], OUT positions bigint[], OUT of_generation bigint, OUT stood bigint
) LANGUAGE plpgsql AS $$
DECLARE
    own bigint[] := '{}';
    free bigint[] := '{}';
    count_recorded bigint;
BEGIN
    SELECT next, generation INTO stood, of_generation FROM memollm.cursor WHERE reader = of_reader AND call = of_call;
    IF NOT FOUND THEN
        of_generation := memollm.new_generation();
        INSERT INTO memollm.cursor (reader, call, next, generation) VALUES (of_reader, of_call, 0, of_generation);
        stood := memollm.reserve(of_call, of_reader, of_recorder, 0);
    END IF;
    IF of_lane IS NOT NULL THEN
        stood := memollm.reserve(of_call, of_reader, of_recorder, stood);
        own := memollm.own(me, of_call, of_reader, of_recorder, of_lane);
        IF of_order IS NOT NULL AND cardinality(own) < n THEN
            stood := memollm.add_rounds(of_call, of_reader, of_recorder, of_order, stood, n - cardinality(own));
            own := memollm.own(me, of_call, of_reader, of_recorder, of_lane);
        END IF;
    END IF;
    IF cardinality(own) < n OR pool IS NOT NULL THEN
        free := ARRAY(
            SELECT position FROM memollm.loose
            WHERE reader = of_reader AND call = of_call AND NOT EXISTS (
                SELECT 1 FROM memollm.recorded WHERE recorder = of_recorder AND recorded.call = of_call
                    AND recorded.position = loose.position
            ) AND (owner IS NULL OR NOT memollm.lives(owner, me))
            ORDER BY position
        );
    END IF;
    positions := memollm.choose(own || free, stood, n, pool);
    IF of_lane IS NOT NULL THEN
        SELECT coalesce(max(nth) + 1, 0) INTO count_recorded FROM memollm.recorded
        WHERE recorder = of_recorder AND call = of_call AND lane = of_lane;
        INSERT INTO memollm.recorded (recorder, call, position, lane, nth)
        SELECT of_recorder, of_call, at, of_lane, count_recorded + nth
        FROM unnest(positions) WITH ORDINALITY AS these (at, nth) WHERE at <> ALL (own);
    END IF;
    UPDATE memollm.cursor SET next = greatest(next, positions[cardinality(positions)] + 1)
    WHERE reader = of_reader AND call = of_call;
END $$;

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

-- What lies between a position that was delivered and its freedom: a reader that began anew will come to it by itself.
CREATE OR REPLACE FUNCTION memollm.free(of_call bigint, of_reader integer, at bigint, of_generation bigint)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO memollm.loose (reader, call, position) SELECT of_reader, of_call, at
    FROM memollm.cursor WHERE reader = of_reader AND call = of_call AND next > at AND generation = of_generation
    ON CONFLICT (call, reader, position) DO UPDATE SET ticket = NULL WHERE loose.owner IS NULL;
$$;

-- A position in flight is free again, or delivered. Tell whether others may have it: it was not the draw's any more,
-- and its reader was not set back meanwhile.
CREATE OR REPLACE FUNCTION memollm.let_go(
    me integer, of_ticket bigint, of_call bigint, of_reader integer, at bigint, of_generation bigint, returned boolean,
    refused boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF returned OR refused THEN
        -- Given and not kept: the reader's lane goes on after it. No draw has the ticket 0.
        UPDATE memollm.loose SET owner = NULL, ticket = CASE WHEN refused THEN 0 END
        WHERE reader = of_reader AND call = of_call AND position = at AND owner = me AND ticket = of_ticket;
    ELSE
        DELETE FROM memollm.loose
        WHERE reader = of_reader AND call = of_call AND position = at AND owner = me AND ticket = of_ticket;
    END IF;
    RETURN NOT FOUND AND EXISTS (
        SELECT 1 FROM memollm.cursor WHERE reader = of_reader AND call = of_call
            AND (generation = of_generation OR generation < 0)
    );
END $$;

-- Settle a draw of which its process does not know what it was given: all of that is free again.
CREATE OR REPLACE FUNCTION memollm.settle_unknown(me integer, of_ticket bigint, keeps_claims boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    given jsonb;
    want jsonb;
    at bigint;
BEGIN
    DELETE FROM memollm.asked WHERE owner = me AND id = of_ticket RETURNING answer INTO given;
    FOR want IN SELECT value FROM jsonb_array_elements(coalesce(given, '[]')) LOOP
        FOR at IN SELECT value::bigint FROM jsonb_array_elements(want->'positions') LOOP
            IF (want->>'delivered')::boolean THEN
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

-- Do what several draws ask for, in order. Each step is one of these, by `k`:
--     take    the positions of a want           look    at a slot        fill    a slot
--     end     a claim                           go      of a position    free    a position
--     unknown, to settle a draw of which nobody here knows what it was given
-- `q` is the number of its request, `i` its own within that, `id` what the request is remembered by, `z` that it is the
-- last of its request. Answers are rows, whose `kind` says what they are about.
CREATE OR REPLACE FUNCTION memollm.perform(
    me integer, again boolean, arrived bigint[], numbered bigint, calls jsonb, readers jsonb, steps jsonb, records bytea[],
    made_at double precision
) RETURNS TABLE (
    kind text, request integer, nth integer, at bigint, of_ticket bigint, of_generation bigint, body bytea,
    stored double precision, seconds double precision, input_tokens bigint, output_tokens bigint, cost double precision,
    latency double precision
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    numbers bigint[];
    reader_numbers integer[] := '{}';
    recorder_numbers integer[] := '{}';
    pair integer[];
    known jsonb;
    is_locked boolean := false;
    step record;
    this bigint;
    lane text;
    number_of_lane integer;
    who integer;
    got record;
    found_at record;
    was record;
    answer jsonb := '[]';
    claimed bigint[];
    filled integer;
    moved boolean := false;
    begun bigint;
    more bigint[];
BEGIN
    IF pg_try_advisory_xact_lock_shared($OWNERS, me) THEN
        -- Whoever looks takes this process for dead, so it claims nothing before it has its lock again.
        RAISE EXCEPTION USING ERRCODE = 'MM001', MESSAGE = 'the lock of the owner is not held';
    END IF;
    PERFORM pg_advisory_xact_lock_shared($KEEPING, 0);
    numbers := memollm.numbers_of_calls(calls, made_at);
    SELECT numbering INTO this FROM memollm.about;
    IF this IS DISTINCT FROM numbered THEN
        IF EXISTS (SELECT 1 FROM jsonb_array_elements(calls) WHERE value->0 <> 'null') THEN
            RAISE EXCEPTION USING ERRCODE = 'MM002', MESSAGE = 'a call may have another number';
        END IF;
        kind := 'numbering'; at := this;
        RETURN NEXT;
    END IF;
    FOR this IN SELECT ordinality - 1 FROM jsonb_array_elements(calls) WITH ORDINALITY WHERE value->0 = 'null' LOOP
        kind := 'call'; nth := this; at := numbers[this + 1];
        RETURN NEXT;
    END LOOP;
    FOR pair IN SELECT numbers_of_readers FROM memollm.numbers_of_readers(readers) LOOP
        IF readers->cardinality(reader_numbers)->0 = 'null' THEN
            kind := 'reader'; nth := cardinality(reader_numbers); at := pair[1]; of_ticket := pair[2];
            RETURN NEXT;
        END IF;
        reader_numbers := reader_numbers || pair[1];
        recorder_numbers := recorder_numbers || pair[2];
    END LOOP;
    IF cardinality(arrived) > 0 THEN
        DELETE FROM memollm.asked WHERE owner = me AND id = ANY (arrived);
    END IF;
    IF again THEN
        SELECT jsonb_object_agg(asked.id, coalesce(asked.answer, '[]')) INTO known FROM memollm.asked
        WHERE asked.owner = me AND asked.id IN (
            SELECT CASE each.k WHEN 'unknown' THEN each.t ELSE each.id END
            FROM jsonb_to_recordset(steps) AS each (id bigint, t bigint, k text));
        SELECT array_agg((want->>'call')::bigint) INTO more
        FROM jsonb_each(coalesce(known, '{}')) AS old (key, value), LATERAL jsonb_array_elements(
            CASE jsonb_typeof(old.value) WHEN 'array' THEN old.value ELSE '[]' END) AS want
        WHERE want ? 'call';
    END IF;
    FOR lane IN
        SELECT DISTINCT name COLLATE "C" FROM jsonb_to_recordset(steps) AS each (l text, o text[]),
            LATERAL unnest(coalesce(o, '{}') || l) AS name WHERE name IS NOT NULL ORDER BY 1
    LOOP
        PERFORM memollm.number_of_lane(lane);
    END LOOP;
    -- What only reads, and finds everything, waits for nobody.
    IF EXISTS (
        SELECT 1 FROM jsonb_to_recordset(steps) AS each (k text, c integer, r integer, n bigint, w double precision)
        WHERE NOT EXISTS (
            SELECT 1 FROM memollm.slot WHERE slot.call = numbers[each.c + 1] AND slot.record IS NOT NULL
                AND slot.slot = CASE WHEN each.k = 'look' THEN each.n WHEN each.n = 1 AND each.r IS NULL THEN 0 ELSE -1 END
                AND slot.stored > coalesce(each.w, '-Infinity') AND each.k IN ('look', 'take'))
    ) THEN
        PERFORM pg_advisory_xact_lock($CALLS, number) FROM (
            SELECT DISTINCT (each % 4096)::integer AS number
            FROM unnest(numbers || coalesce(more, '{}')) AS each ORDER BY 1
        ) AS ordered;
        is_locked := true;
    END IF;
    FOR step IN
        SELECT * FROM jsonb_to_recordset(steps) AS each (
            k text, q integer, i integer, id bigint, z boolean, t bigint, c integer, r integer, n bigint, p bigint,
            l text, w double precision, f boolean, g bigint, b integer, s double precision, se double precision,
            ti bigint, "to" bigint, co double precision, la double precision, o text[], rf boolean, u boolean)
    LOOP
        this := numbers[step.c + 1];
        who := reader_numbers[step.r + 1];
        kind := NULL; request := step.q; nth := step.i; at := NULL; of_ticket := NULL; of_generation := NULL;
        body := NULL;
        IF again AND step.id IS NOT NULL AND known ? step.id::text THEN
            -- It was done, and the answer was lost.
            IF step.k = 'take' THEN
                SELECT ARRAY(SELECT value::bigint FROM jsonb_array_elements(want->'positions')) AS positions,
                    ARRAY(SELECT value::bigint FROM jsonb_array_elements(want->'claimed')) AS claimed,
                    (want->>'generation')::bigint AS generation
                INTO got FROM (SELECT known->(step.id::text)->step.i AS want) AS remembered;
                kind := 'want'; of_generation := got.generation;
                RETURN NEXT;
                FOR found_at IN
                    SELECT each AS position, slot.record, slot.stored, slot.seconds, slot.input_tokens,
                        slot.output_tokens, slot.cost, slot.latency,
                        CASE WHEN step.p IS NULL THEN each ELSE each % step.p END AS of_slot
                    FROM unnest(got.positions) WITH ORDINALITY AS these (each, nth)
                    LEFT JOIN memollm.slot ON slot.call = this
                        AND slot.slot = CASE WHEN step.p IS NULL THEN each ELSE each % step.p END
                    ORDER BY these.nth
                LOOP
                    kind := CASE WHEN found_at.of_slot = ANY (got.claimed) THEN 'mine'
                        WHEN found_at.record IS NULL THEN 'busy' ELSE 'sample' END;
                    at := found_at.position; body := found_at.record; stored := found_at.stored;
                    seconds := found_at.seconds; input_tokens := found_at.input_tokens;
                    output_tokens := found_at.output_tokens; cost := found_at.cost; latency := found_at.latency;
                    RETURN NEXT;
                END LOOP;
            ELSIF jsonb_typeof(known->(step.id::text)) = 'array' AND known->(step.id::text) @> to_jsonb(step.i) THEN
                IF step.k = 'go' THEN
                    kind := 'void';
                    RETURN NEXT;
                ELSE
                    FOR found_at IN SELECT * FROM memollm.slot WHERE slot.call = this AND slot.slot = step.n
                        AND slot.record IS NOT NULL LOOP
                        kind := 'lost'; body := found_at.record; stored := found_at.stored;
                        seconds := found_at.seconds; input_tokens := found_at.input_tokens;
                        output_tokens := found_at.output_tokens; cost := found_at.cost; latency := found_at.latency;
                        RETURN NEXT;
                    END LOOP;
                END IF;
            END IF;
            CONTINUE;
        END IF;
        IF step.k = 'take' AND step.n = 1 AND who IS NOT NULL AND step.l IS NULL AND step.u IS NULL THEN
            SELECT * INTO got FROM memollm.glance(this, who, recorder_numbers[step.r + 1], step.p, step.w);
            IF got.at IS NOT NULL THEN
                kind := 'want'; of_generation := got.of_generation;
                RETURN NEXT;
                kind := 'sample'; at := got.at; body := got.body; stored := got.stored; seconds := got.seconds;
                input_tokens := got.input_tokens; output_tokens := got.output_tokens; cost := got.cost; latency := got.latency;
                RETURN NEXT;
                answer := answer || jsonb_build_object('call', this, 'reader', who, 'generation', got.of_generation,
                    'delivered', true, 'positions', ARRAY[got.at], 'claimed', '[]'::jsonb);
                moved := true;
                IF step.z THEN
                    INSERT INTO memollm.asked (owner, id, answer) VALUES (me, step.id, answer);
                    answer := '[]';
                    moved := false;
                END IF;
                CONTINUE;
            END IF;
        END IF;
        CASE step.k
        WHEN 'take', 'look' THEN
            IF step.k = 'look' THEN
                SELECT ARRAY[step.n] AS positions, NULL::bigint AS of_generation, NULL::bigint AS stood INTO got;
            ELSIF who IS NULL THEN
                SELECT ARRAY(SELECT generate_series(0, step.n - 1)) AS positions, 0::bigint AS of_generation,
                    0::bigint AS stood INTO got;
            ELSE
                number_of_lane := CASE WHEN step.l IS NOT NULL THEN memollm.number_of_lane(step.l) END;
                IF step.u THEN
                    SELECT * INTO got FROM memollm.take_left(me, this, who, recorder_numbers[step.r + 1], step.n, step.p,
                        number_of_lane);
                ELSE
                    SELECT * INTO got FROM memollm.take(me, this, who, recorder_numbers[step.r + 1], step.n, step.p,
                        number_of_lane, CASE WHEN step.o IS NOT NULL THEN ARRAY(
                            SELECT memollm.number_of_lane(name) FROM unnest(step.o) WITH ORDINALITY AS these (name, nth)
                            ORDER BY nth) END);
                END IF;
                moved := true;
            END IF;
            IF step.k = 'take' THEN
                kind := 'want'; of_generation := got.of_generation;
                RETURN NEXT;
            END IF;
            claimed := '{}';
            filled := 0;
            FOR found_at IN
                SELECT these.each AS position, slot.record, slot.stored, slot.seconds, slot.input_tokens,
                    slot.output_tokens, slot.cost, slot.latency, slot.owner, slot.ticket,
                    CASE WHEN step.p IS NULL THEN these.each ELSE these.each % step.p END AS of_slot
                FROM unnest(got.positions) WITH ORDINALITY AS these (each, nth)
                LEFT JOIN memollm.slot ON slot.call = this
                    AND slot.slot = CASE WHEN step.p IS NULL THEN these.each ELSE these.each % step.p END
                ORDER BY these.nth
            LOOP
                at := found_at.position; of_ticket := NULL; body := NULL;
                IF found_at.record IS NOT NULL AND found_at.stored > coalesce(step.w, '-Infinity') THEN
                    kind := 'sample'; body := found_at.record; stored := found_at.stored;
                    seconds := found_at.seconds; input_tokens := found_at.input_tokens;
                    output_tokens := found_at.output_tokens; cost := found_at.cost; latency := found_at.latency;
                    filled := filled + 1;
                ELSIF NOT is_locked THEN
                    -- It was there a moment ago, and was removed: begin anew.
                    RAISE EXCEPTION USING ERRCODE = 'MM002', MESSAGE = 'a sample was removed';
                ELSIF found_at.owner IS NOT NULL AND (found_at.owner, found_at.ticket) IS DISTINCT FROM (me, step.t)
                    AND memollm.lives(found_at.owner, me)
                THEN
                    kind := 'busy';
                    IF found_at.owner = me THEN
                        of_ticket := found_at.ticket;
                    END IF;
                ELSE
                    INSERT INTO memollm.slot (call, slot, owner, ticket) VALUES (this, found_at.of_slot, me, step.t)
                    ON CONFLICT (call, slot) DO UPDATE SET owner = excluded.owner, ticket = excluded.ticket;
                    claimed := claimed || found_at.of_slot;
                    moved := true;
                    kind := 'mine';
                END IF;
                RETURN NEXT;
            END LOOP;
            IF who IS NOT NULL AND step.k = 'take' THEN
                IF filled < cardinality(got.positions) THEN
                    INSERT INTO memollm.loose (reader, call, position, owner, ticket)
                    SELECT who, this, each, me, step.t FROM unnest(got.positions) AS each
                    ON CONFLICT (call, reader, position) DO UPDATE SET owner = excluded.owner, ticket = excluded.ticket;
                ELSIF got.positions[1] < got.stood OR step.u THEN
                    DELETE FROM memollm.loose
                    WHERE reader = who AND call = this AND position = ANY (got.positions);
                END IF;
            END IF;
            IF step.k = 'take' THEN
                answer := answer || jsonb_build_object('call', this, 'reader', who, 'generation', got.of_generation,
                    'delivered', who IS NOT NULL AND filled = cardinality(got.positions),
                    'positions', got.positions, 'claimed', claimed);
            END IF;
        WHEN 'fill' THEN
            moved := true;
            UPDATE memollm.slot SET record = records[step.b], stored = step.s, seconds = step.se,
                input_tokens = step.ti, output_tokens = step."to", cost = step.co, latency = step.la, owner = NULL, ticket = NULL
            WHERE call = this AND slot = step.n AND owner = me AND ticket = step.t AND record IS NULL
            RETURNING is_waited_for AS waited INTO was;
            IF FOUND THEN
                IF was.waited THEN
                    PERFORM memollm.tell(this, step.n);
                END IF;
            ELSE
                PERFORM memollm.end_claim(me, step.t, this, step.n);
                SELECT * INTO found_at FROM memollm.slot WHERE slot.call = this AND slot.slot = step.n;
                IF found_at.record IS NOT NULL AND found_at.stored > coalesce(step.w, '-Infinity') THEN
                    kind := 'lost'; at := step.n; body := found_at.record; stored := found_at.stored;
                    seconds := found_at.seconds; input_tokens := found_at.input_tokens;
                    output_tokens := found_at.output_tokens; cost := found_at.cost; latency := found_at.latency;
                    answer := answer || to_jsonb(step.i);
                    RETURN NEXT;
                ELSE
                    IF found_at.record IS NOT NULL THEN
                        INSERT INTO memollm.replaced (call, slot, stored, digest)
                        VALUES (this, step.n, found_at.stored, memollm.digest_of(found_at.record))
                        ON CONFLICT DO NOTHING;
                        begun := memollm.begin_epoch();
                        kind := 'epoch'; at := begun;
                        RETURN NEXT;
                    END IF;
                    INSERT INTO memollm.slot (call, slot, record, stored, seconds, input_tokens, output_tokens, cost, latency)
                    VALUES (this, step.n, records[step.b], step.s, step.se, step.ti, step."to", step.co, step.la)
                    ON CONFLICT (call, slot) DO UPDATE SET record = excluded.record, stored = excluded.stored,
                        seconds = excluded.seconds, input_tokens = excluded.input_tokens,
                        output_tokens = excluded.output_tokens, cost = excluded.cost, latency = excluded.latency;
                END IF;
            END IF;
        WHEN 'end' THEN
            moved := true;
            PERFORM memollm.end_claim(me, step.t, this, step.n);
        WHEN 'go' THEN
            moved := true;
            IF memollm.let_go(me, step.t, this, who, step.n, step.g, step.f, coalesce(step.rf, false)) THEN
                kind := 'void';
                answer := answer || to_jsonb(step.i);
                RETURN NEXT;
            END IF;
        WHEN 'free' THEN
            moved := true;
            PERFORM memollm.free(this, who, step.n, step.g);
        WHEN 'unknown' THEN
            PERFORM memollm.settle_unknown(me, step.t, step.f);
        END CASE;
        IF step.z THEN
            IF moved AND step.id IS NOT NULL THEN
                INSERT INTO memollm.asked (owner, id, answer) VALUES (me, step.id, answer);
            END IF;
            answer := '[]';
            moved := false;
        END IF;
    END LOOP;
END $$;

-- One draw of one sample, whose call and reader have numbers already.
CREATE OR REPLACE FUNCTION memollm.draw(
    me integer, asked_as bigint, numbered bigint, this bigint, who integer, of_recorder integer, pool bigint,
    newer double precision
) RETURNS TABLE (
    kind text, request integer, nth integer, at bigint, of_ticket bigint, of_generation bigint, body bytea,
    stored double precision, seconds double precision, input_tokens bigint, output_tokens bigint, cost double precision,
    latency double precision
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    got record;
    numbering_now bigint;
BEGIN
    IF pg_try_advisory_xact_lock_shared($OWNERS, me) THEN
        RAISE EXCEPTION USING ERRCODE = 'MM001', MESSAGE = 'the lock of the owner is not held';
    END IF;
    PERFORM pg_advisory_xact_lock_shared($KEEPING, 0), pg_advisory_xact_lock($CALLS, (this % 4096)::integer);
    SELECT numbering INTO numbering_now FROM memollm.about;
    IF numbering_now <> numbered THEN
        RAISE EXCEPTION USING ERRCODE = 'MM002', MESSAGE = 'a call may have another number';
    END IF;
    SELECT * INTO got FROM memollm.glance(this, who, of_recorder, pool, newer);
    IF got.at IS NULL THEN
        RETURN QUERY SELECT * FROM memollm.perform(me, false, '{}', numbered, jsonb_build_array(jsonb_build_array(this)),
            jsonb_build_array(jsonb_build_array(who, of_recorder)), jsonb_build_array(jsonb_build_object('k', 'take',
                'q', 0, 'i', 0, 'id', asked_as, 't', asked_as, 'n', 1, 'c', 0, 'r', 0, 'z', true, 'p', pool,
                'w', newer)), '{}', 0);
        RETURN;
    END IF;
    INSERT INTO memollm.asked (owner, id, answer) VALUES (me, asked_as, jsonb_build_array(jsonb_build_object(
        'call', this, 'reader', who, 'generation', got.of_generation, 'delivered', true,
        'positions', ARRAY[got.at], 'claimed', '[]'::jsonb)));
    kind := 'want'; request := 0; nth := 0; of_generation := got.of_generation;
    RETURN NEXT;
    kind := 'sample'; at := got.at; body := got.body; stored := got.stored; seconds := got.seconds;
    input_tokens := got.input_tokens; output_tokens := got.output_tokens; cost := got.cost; latency := got.latency;
    RETURN NEXT;
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
        PERFORM pg_advisory_xact_lock($CALLS, number) FROM (
            SELECT DISTINCT (each % 4096)::integer AS number FROM unnest(ids) AS each WHERE each IS NOT NULL ORDER BY 1
        ) AS ordered;
        UPDATE memollm.slot SET is_waited_for = true FROM unnest(ids, slots) AS these (call, slot)
        WHERE slot.call = these.call AND slot.slot = these.slot AND slot.owner IS NOT NULL;
    END IF;
    RETURN QUERY SELECT these.nth - 1, slot.owner, slot.ticket
    FROM unnest(ids, slots) WITH ORDINALITY AS these (call, slot, nth)
    JOIN memollm.slot ON slot.call = these.call AND slot.slot = these.slot
    WHERE slot.owner IS NOT NULL AND memollm.lives(slot.owner, me);
END $$;
