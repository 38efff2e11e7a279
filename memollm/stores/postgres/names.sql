-- How a PostgreSQL store numbers calls, readers and lanes. `memollm.` is written as the schema that the URL names.

-- name: naming_functions  They are made anew with each version of the schema.
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

-- Have a number for each lane that steps name, in the order of their names.
CREATE OR REPLACE FUNCTION memollm.bring_lanes(steps jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lane text;
BEGIN
    FOR lane IN
        SELECT DISTINCT name COLLATE "C" FROM jsonb_to_recordset(steps) AS each (l text, o text[]),
            LATERAL unnest(coalesce(o, '{}') || l) AS name WHERE name IS NOT NULL ORDER BY 1
    LOOP
        PERFORM memollm.number_of_lane(lane);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION memollm.numbers_of_lanes(names text[]) RETURNS integer[] LANGUAGE sql AS $$
    SELECT ARRAY(SELECT memollm.number_of_lane(name) FROM unnest(names) WITH ORDINALITY AS these (name, nth) ORDER BY nth);
$$;

-- Tell the numbers of calls that were given without one. Where calls were numbered anew, those that were given mean nothing.
CREATE OR REPLACE FUNCTION memollm.tell_calls(calls jsonb, numbers bigint[], numbered bigint)
RETURNS SETOF memollm.answered LANGUAGE plpgsql AS $$
DECLARE
    told memollm.answered;
    numbering_now bigint;
BEGIN
    SELECT numbering INTO numbering_now FROM memollm.about;
    IF numbering_now IS DISTINCT FROM numbered THEN
        IF EXISTS (SELECT 1 FROM jsonb_array_elements(calls) WHERE value->0 <> 'null') THEN
            RAISE EXCEPTION USING ERRCODE = 'MM002', MESSAGE = 'a call may have another number';
        END IF;
        told.kind := 'numbering'; told.at := numbering_now;
        RETURN NEXT told;
    END IF;
    told.kind := 'call';
    FOR told.nth IN SELECT ordinality - 1 FROM jsonb_array_elements(calls) WITH ORDINALITY WHERE value->0 = 'null' LOOP
        told.at := numbers[told.nth + 1];
        RETURN NEXT told;
    END LOOP;
END $$;

-- Tell the numbers of readers that were given without one, and of their recorders.
CREATE OR REPLACE FUNCTION memollm.tell_readers(readers jsonb, numbers integer[], recorders integer[])
RETURNS SETOF memollm.answered LANGUAGE plpgsql AS $$
DECLARE
    told memollm.answered;
BEGIN
    told.kind := 'reader';
    FOR told.nth IN SELECT ordinality - 1 FROM jsonb_array_elements(readers) WITH ORDINALITY WHERE value->0 = 'null' LOOP
        told.at := numbers[told.nth + 1]; told.of_ticket := recorders[told.nth + 1];
        RETURN NEXT told;
    END LOOP;
END $$;
