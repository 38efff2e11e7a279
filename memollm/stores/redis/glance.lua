-- What most draws are: one stored sample, at the cursor of a reader that has no positions free, of a call that nobody is
-- filling, asked for the first time. It stands before the functions of `common.lua`, which it needs none of.
--
-- ARGV: owner, 'one', ticket, reader, pool, newer than, and of the cursor as this process saw it last its generation and
-- next position; then what `drawing.lua` goes on with where this is no such draw, and last by what the cache is known.
if ARGV[2] == 'one' then
    local base, at = KEYS[1], redis.call('HGET', KEYS[1] .. ':r', ARGV[4])
    local answer = base .. ':a:' .. ARGV[1] .. ':' .. ARGV[3]
    if at and redis.call('HGET', base .. ':call', 'cache') == ARGV[12]
        and redis.call('EXISTS', base .. ':f:' .. ARGV[4], base .. ':o', answer) == 0
    then
        local generation, next = string.match(at, '^(-?%d+):(%d+)$')
        next = tonumber(next)
        if generation == ARGV[7] and next < tonumber(ARGV[8]) then
            next = tonumber(ARGV[8])
        end
        local slot = next
        if ARGV[5] ~= '' then
            slot = next % tonumber(ARGV[5])
        end
        local sample = redis.call('HGET', base .. ':s', slot)
        if sample and (ARGV[6] == '' or struct.unpack('>d', sample) > tonumber(ARGV[6])) then
            redis.call('HSET', base .. ':r', ARGV[4], generation .. ':' .. next + 1)
            redis.call('SET', answer, cmsgpack.pack({'t', {{ARGV[4], generation, 1, {next}, {}}}}), 'PX', 3600000)
            return {generation, next, sample}
        end
    end
end
