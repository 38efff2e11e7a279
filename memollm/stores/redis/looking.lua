-- What can be seen of one call. It changes nothing, but for one thing: who takes all of it out, and may write, buries the
-- dead before. Whoever is paused for longer than its lease would go on with what is not given any more elsewhere.
-- ARGV: owner, what is asked, and what that needs.
local what, argument = ARGV[2], ARGV[3]

local function text_of(number)
    return string.format('%.17g', number)
end

-- How many positions of each reader are loose.
local function counts_of_loose()
    local counts = {}
    for _, reader in ipairs(call('HKEYS', base .. ':r')) do
        counts[reader] = call('ZCARD', base .. ':f:' .. reader) + call('SCARD', base .. ':x:' .. reader)
    end
    for _, owner in ipairs(call('HKEYS', base .. ':o')) do
        for _, field in ipairs(call('HKEYS', base .. ':i:' .. owner)) do
            local _, reader = in_flight(field)
            if reader then
                counts[reader] = (counts[reader] or 0) + 1
            end
        end
    end
    return counts
end

local function about()
    return call('HMGET', base .. ':call', 'key', 'form', 'function', 'made', 'used')
end

local function lanes_in_order(recorder)
    local names, known, lanes = call('HGETALL', base .. ':h:' .. recorder), {}, {}
    for n = 1, #names, 2 do
        local lane = names[n + 1]
        if names[n] ~= 'end' and not known[lane] then
            known[lane] = true
            lanes[#lanes + 1] = {lane, call('LRANGE', base .. ':q:' .. recorder .. '\0' .. lane, 0, -1)}
        end
    end
    return lanes
end

local asking = {}

function asking.call()
    return {about(), call('HLEN', base .. ':s')}
end

-- What its samples are and took together, without the samples.
function asking.survey()
    local samples = call('HGETALL', base .. ':s')
    local size, first, last, seconds, input, output, cost, has_cost = 0, math.huge, 0, 0, 0, 0, 0, false
    for n = 2, #samples, 2 do
        local stored, took, taken_in, given_out, price = struct.unpack('>ddi8i8d', samples[n])
        -- A reference says how large the record is that stands in a bucket.
        if #samples[n] > 107 and #samples[n] <= 1564 and string.sub(samples[n], 65, 67) == '@@:' then
            size = size + struct.unpack('>I8', samples[n], 100)
        else
            size = size + #samples[n] - 64
        end
        first, last = math.min(first, stored), math.max(last, stored)
        seconds, input, output = seconds + took, input + taken_in, output + given_out
        if price == price then
            cost, has_cost = cost + price, true
        end
    end
    return {about(), #samples / 2, size, text_of(first), text_of(last), text_of(seconds), text_of(input), text_of(output),
        has_cost and text_of(cost) or ''}
end

function asking.readers()
    local counts, readers = counts_of_loose(), {}
    local cursors = call('HGETALL', base .. ':r')
    for n = 1, #cursors, 2 do
        readers[#readers + 1] = {cursors[n], tonumber(string.match(cursors[n + 1], '%d+$')) - counts[cursors[n]]}
    end
    return readers
end

function asking.standing()
    local _, next = cursor_of(argument)
    return {next or 0, loose_of(argument), lanes_in_order(ARGV[4])}
end

-- Everything of it but the samples, of which the slots are told: what comes later is not of this moment. What the dead
-- have in flight is free, if they are buried ('1'), or counts as given still.
function asking.all()
    if argument == '1' then
        bury_the_dead(now())
    end
    local readers, lanes = {}, {}
    local cursors = call('HGETALL', base .. ':r')
    for n = 1, #cursors, 2 do
        local free = call('ZRANGE', base .. ':f:' .. cursors[n], 0, -1)
        local filled = {}
        for _, owner in ipairs(call('HKEYS', base .. ':o')) do
            local held = call('HGETALL', base .. ':i:' .. owner)
            for m = 1, #held, 2 do
                local at, reader = in_flight(held[m])
                if reader == cursors[n] then
                    filled[#filled + 1] = {at, call('HEXISTS', base .. ':s', string.match(held[m + 1], '%d+$'))}
                end
            end
        end
        readers[#readers + 1] = {cursors[n], tonumber(string.match(cursors[n + 1], '%d+$')), free,
            call('SMEMBERS', base .. ':x:' .. cursors[n]), filled}
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        lanes[#lanes + 1] = {recorder, lanes_in_order(recorder)}
    end
    return {readers, lanes, call('SMEMBERS', base .. ':d'), call('HGETALL', base .. ':u'), call('HKEYS', base .. ':s'),
        call('HMGET', base .. ':call', 'made', 'used'), call('HGETALL', base .. ':t')}
end

function asking.drawn()
    return {about(), call('HGETALL', base .. ':t')}
end

return asking[what]()
