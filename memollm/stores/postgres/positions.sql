-- Which positions a draw from a PostgreSQL store is given. `memollm.` is written as the schema that the URL names.
-- Whoever asks holds the lock of the call.

-- name: position_functions  They are made anew with each version of the schema.
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

CREATE OR REPLACE FUNCTION memollm.new_generation() RETURNS bigint LANGUAGE sql AS $$
    SELECT 1 + ('x' || encode(substring(uuid_send(gen_random_uuid()) FROM 9 FOR 8), 'hex'))::bit(64)::bigint
        & 4611686018427387903;
$$;

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
