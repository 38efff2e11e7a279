-- How a Redis store draws: what a burst of draws asks of one call is done by one script.
--
-- ARGV: owner, 'many', lease in milliseconds, the number that a new cursor's generation is made of, what is asked as
-- MessagePack, and records. What is asked is {what the call is, or false; groups; by what the cache is known that the asker
-- has opened}, and a group {id, or false; steps}. What the call is ends with whether the list of that cache has taken it;
-- the answer then ends with 1, if the call is of the cache by now. What was done under an id is not done again: who asks
-- again is answered as before, and what was on its way for long, and was asked again meanwhile, changes nothing. A step is
-- one of these, by its first:
--     t  take      {reader, recorder, n, pool, lane, order, newer than, resumes, generation and next as seen last}
--     l  look      {slot, newer than, ticket}                   f  fill     {ticket, slot, number of the record, newer than}
--     e  end       {ticket, slot} of a claim                    g  go       {ticket, reader, position, generation, returned, refused}
--     b  back      {reader, position, generation} after it was delivered
--     u  unknown   {ticket, keeps claims}: to settle a draw of which nobody knows what it was given
-- Each has its answer: of a take {generation, positions, states}, of a look a state, of a fill the sample that came
-- first, or 1 where it replaced one, of a go 1 where others may have the position. A state is a sample, 0 for a slot that
-- is the asker's to fill, the ticket of a draw of this owner that is filling it, or -1 for another's.
local moment = now()
local asked, lease
if ARGV[2] == 'one' then
    -- Of `glance.lua`, of which the rest is recorder, lease, fresh number, and by what the cache is known.
    local pool, newer = ARGV[5] ~= '' and tonumber(ARGV[5]), ARGV[6] ~= '' and tonumber(ARGV[6])
    lease, fresh = tonumber(ARGV[10]), ARGV[11]
    asked = {false, {{ARGV[3], {
        {'t', ARGV[4], ARGV[9], 1, pool, false, false, newer, false, ARGV[7], tonumber(ARGV[8])}}}}, ARGV[12]}
else
    lease, fresh, asked = tonumber(ARGV[3]), ARGV[4], cmsgpack.unpack(ARGV[5])
end

-- What was paid for is taken while something is moved here; nothing is given meanwhile.
local function gives()
    for _, group in ipairs(asked[2]) do
        local kind = group[2][1][1]
        if kind == 't' or kind == 'l' then
            return true
        end
    end
    return false
end

local function fills()
    for _, group in ipairs(asked[2]) do
        for _, step in ipairs(group[2]) do
            if step[1] == 'f' then
                return true
            end
        end
    end
    return false
end

-- A call is of the cache whose list took it before. One that came with a listing, which may have been refused, is of none
-- yet: who has not been told so lists it, too, before anything is given, and it is listed again before it is filled.
local function require_cache(made, cache, about)
    if cache == asked[3] or about and not cache then
        return
    elseif cache and (gives() or fills()) then
        refuse('MMEMPTIED')
    elseif not made or not cache and (gives() or fills()) then
        refuse('MMUNKNOWN')
    end
end

bury_the_dead(moment)
local about, known = asked[1], call('HMGET', base .. ':call', 'made', 'joining', 'leaving', 'cache')
require_cache(known[1], known[4], about)
if known[3] or known[2] and gives() then
    require_still(known[2], known[3])
end
if about and not known[1] then
    call('HSET', base .. ':call', 'key', about[1], 'function', about[2], 'form', about[3], 'made', about[4])
end

-- What it finds in their slots.

local function state_of(sample, slot, newer, ticket, claims)
    if sample and (not newer or struct.unpack('>d', sample) > newer) then
        return sample
    end
    local holder = call('HGET', base .. ':c', slot)
    if holder and holder ~= me .. ':' .. ticket then
        local owner, of = string.match(holder, '^(%x+):(%d+)$')
        return owner == me and tonumber(of) or -1
    end
    call('HSET', base .. ':c', slot, me .. ':' .. ticket)
    call('HSET', base .. ':i:' .. me, 'c' .. slot, ticket)
    claims[#claims + 1] = slot
    return 0
end

local function slots_of(positions, pool)
    local slots = {}
    for n, at in ipairs(positions) do
        slots[n] = pool and at % pool or at
    end
    return slots
end

local function samples_of(slots)
    local samples = {}
    for first = 1, #slots, MANY do
        local some = call('HMGET', base .. ':s', unpack(slots, first, math.min(first + MANY - 1, #slots)))
        for n = 1, #some do
            samples[first + n - 1] = some[n]
        end
    end
    return samples
end

local function take(step, ticket)
    local reader, pool = step[2], step[5]
    local positions, generation
    if not reader then
        positions, generation = stretch(0, step[4] - 1), '0'
    elseif step[9] then
        positions, generation = take_left(step)
    else
        positions, generation = take_next(step)
    end
    local slots, states, claims, filled = slots_of(positions, pool), {}, {}, 0
    local samples = samples_of(slots)
    for n, slot in ipairs(slots) do
        states[n] = state_of(samples[n], slot, step[8], ticket, claims)
        filled = filled + (type(states[n]) == 'string' and 1 or 0)
    end
    local delivered = filled == #positions
    if reader then
        with_many('ZREM', base .. ':f:' .. reader, positions)
        for n = 1, delivered and 0 or #positions do
            call('HSET', base .. ':i:' .. me, 'p' .. positions[n] .. ':' .. reader, ticket .. ':' .. slots[n])
        end
    end
    return {generation, positions, states}, {reader, generation, delivered and 1 or 0, positions, claims}
end

local function take_again(step, want, ticket)
    local slots, states, claims = slots_of(want[4], step[5]), {}, {}
    for _, slot in ipairs(want[5]) do
        claims[slot] = true
    end
    local samples = samples_of(slots)
    for n, slot in ipairs(slots) do
        states[n] = claims[slot] and 0 or samples[n] or -1
    end
    return {want[2], want[4], states}
end

-- Changes.

local function fill(ticket, slot, sample, newer)
    end_claim(me, ticket, slot)
    local there = call('HGET', base .. ':s', slot)
    if there and (not newer or struct.unpack('>d', there) > newer) then
        return there
    end
    call('HSET', base .. ':s', slot, sample)
    if there then
        call('SADD', base .. ':d', slot .. ':' .. string.sub(there, 1, 8) .. string.sub(there, 49, 64))
        call('PUBLISH', string.match(base, '^(.-):{') .. ':told', 'r')
    end
    return there and 1 or 0
end

-- A position that was delivered is free. In flight it is for whoever has it, and of a reader that began anew it is none.
local function free(reader, at, generation)
    local stands, next = cursor_of(reader)
    if stands == generation and at < next and not is_in_flight(reader, at) then
        call('SREM', base .. ':x:' .. reader, at)
        call('ZADD', base .. ':f:' .. reader, at, at)
    end
end

-- A position in flight is free again, or delivered. Tell whether others may have it: it was not the draw's any more, and
-- its reader was not set back meanwhile.
local function let_go(ticket, reader, at, generation, returned, refused)
    local field = 'p' .. at .. ':' .. reader
    local held = call('HGET', base .. ':i:' .. me, field)
    if not held or string.match(held, '^%d+') ~= ticket then
        local stands = cursor_of(reader)
        return stands and (stands == generation or string.sub(stands, 1, 1) == '-') and 1 or 0
    end
    call('HDEL', base .. ':i:' .. me, field)
    if refused then
        call('SADD', base .. ':x:' .. reader, at)
    elseif returned then
        call('ZADD', base .. ':f:' .. reader, at, at)
    end
    return 0
end

local function remembered(id)
    local known = call('GET', base .. ':a:' .. me .. ':' .. id)
    return known and cmsgpack.unpack(known)
end

local function settle_unknown(ticket, keeps_claims)
    local known = remembered(ticket)
    for _, want in ipairs(known and known[1] == 't' and known[2] or {}) do
        for _, at in ipairs(want[1] and want[4] or {}) do
            if want[3] == 1 then
                free(want[1], at, want[2])
            else
                let_go(ticket, want[1], at, want[2], true, false)
            end
        end
        for _, slot in ipairs(keeps_claims and {} or want[5]) do
            end_claim(me, ticket, slot)
        end
    end
    -- If it comes only now, it is too late.
    call('SET', base .. ':a:' .. me .. ':' .. ticket, cmsgpack.pack({'over'}), 'PX', REMEMBERED)
    return 0
end

-- The steps.

local changes = {
    f = function(step) return fill(step[2], step[3], ARGV[step[4]], step[5]) end,
    e = function(step) end_claim(me, step[2], step[3]) return 0 end,
    g = function(step) return let_go(step[2], step[3], step[4], step[5], step[6], step[7]) end,
    b = function(step) free(step[2], step[3], step[4]) return 0 end,
    u = function(step) return settle_unknown(step[2], step[3]) end,
}

local function remember(id, kind, what)
    call('SET', base .. ':a:' .. me .. ':' .. id, cmsgpack.pack({kind, what}), 'PX', REMEMBERED)
end

local function do_group(id, steps)
    local answers, notes = {}, {}
    for n, step in ipairs(steps) do
        if step[1] == 't' then
            answers[n], notes[n] = take(step, id)
        elseif step[1] == 'l' then
            answers[n] = state_of(call('HGET', base .. ':s', step[2]), step[2], step[3], step[4], {})
        else
            answers[n] = changes[step[1]](step)
            notes[n] = type(answers[n]) == 'string' and 2 or answers[n]
        end
    end
    if id and steps[1][1] ~= 'l' then
        remember(id, steps[1][1] == 't' and 't' or 'w', notes)
    end
    return answers
end

local function do_again(id, steps, known)
    if known[1] == 'over' then
        refuse('MMOVER')
    end
    local answers = {}
    for n, step in ipairs(steps) do
        if step[1] == 't' then
            answers[n] = take_again(step, known[2][n], id)
        elseif known[2][n] == 2 then
            answers[n] = call('HGET', base .. ':s', step[3]) or 0
        else
            answers[n] = known[2][n]
        end
    end
    return answers
end

local answers = {}
for n, group in ipairs(asked[2]) do
    local known = group[1] and remembered(group[1])
    answers[n] = known and do_again(group[1], group[2], known) or do_group(group[1], group[2])
end
live(moment, lease)
if ARGV[2] == 'one' then
    local taken = answers[1][1]
    return {taken[1], taken[2][1], taken[3][1]}
end
if about then
    -- Not before: a server without room takes what is paid for, if what is written first needs none.
    if about[5] and not known[4] then
        call('HSET', base .. ':call', 'cache', asked[3])
    end
    answers[#answers + 1] = (about[5] or known[4]) and 1 or 0
end
return answers
