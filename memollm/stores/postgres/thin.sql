-- What is asked by who holds records already.

-- name: perform_thin  Do it, and tell of samples that the asker may hold only what their records are known by.
SELECT CASE WHEN NOT coalesce(is_held, false) THEN kind WHEN kind = 'given' THEN 'given, held' ELSE 'held' END,
    request, nth, at, of_ticket, of_generation,
    CASE WHEN is_held THEN memollm.digest_of(body) ELSE body END, stored, seconds, input_tokens, output_tokens,
    cost, latency
FROM memollm.perform(%s, %s, %s, %s::bigint[], %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::bytea[], %s) WITH ORDINALITY
    AS done (kind, request, nth, at, of_ticket, of_generation, body, stored, seconds, input_tokens, output_tokens, cost,
        latency, ordinality)
LEFT JOIN LATERAL (
    SELECT true AS is_held FROM jsonb_to_recordset(%s::jsonb) AS held (q integer, i integer, p bigint, f bigint, l bigint)
    WHERE done.kind IN ('sample', 'given') AND q = done.request AND i = done.nth
        AND CASE WHEN p IS NULL THEN done.at ELSE done.at %% p END BETWEEN f AND l
    LIMIT 1
) AS known ON true
ORDER BY ordinality;
